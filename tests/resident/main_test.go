// Package resident tests front ends that serve all connections in one process, in what is theirs alone.
package resident

import (
	"os"
	"testing"

	"mailproxy/tests/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }
