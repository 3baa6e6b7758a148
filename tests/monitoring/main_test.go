// Package monitoring runs etc/prometheus and etc/grafana on a proxy under load: a real Prometheus scrapes it,
// each alert fires for a fault that is made, and each query of the dashboard returns data.
//
// What is not tested here: Grafana itself.
package monitoring

import (
	"flag"
	"os"
	"testing"

	"mailproxy/tests/harness"
)

// pictures draws the run into docs/, and has each state last long enough to be seen.
var pictures = flag.Bool("pictures", false, "draw docs/operating-*.svg")

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }
