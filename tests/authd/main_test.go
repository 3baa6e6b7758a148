// Package authd tests authdaemond and authlib against the real thing: our daemon under Courier's programs,
// Courier's daemon under our client, and both asked the same questions.
package authd

import (
	"os"
	"testing"

	"mailproxy/tests/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }
