package ops

import (
	"os/exec"
	"strings"
	"testing"

	"mailproxy/tests/harness"
)

// TestLintian: Debian's checker of packages finds no error and no warning but those that the package says why
// it has; none of the exceptions is without need.
func TestLintian(t *testing.T) {
	text := harness.Source(t, "packaging/lintian-overrides")
	exceptions, explained := 0, false
	for line := range strings.Lines(text) {
		comment := strings.HasPrefix(line, "# ")
		if !comment && !explained {
			t.Errorf("an exception without a reason: %s", line)
		}
		if !comment {
			exceptions++
		}
		explained = comment
	}
	if exceptions > 4 {
		t.Errorf("%d exceptions", exceptions)
	}
	out, err := exec.Command("lintian", "--allow-root", "--display-info", "--tag-display-limit", "0",
		"--fail-on", "error,warning", builtPackage(t, "deb")).
		CombinedOutput()
	if err != nil {
		t.Errorf("lintian (missing? tests/install.sh installs it): %v\n%s", err, out)
	}
	// Exceptions for what is not there.
	if strings.Contains(string(out), "-override") {
		t.Errorf("lintian:\n%s", out)
	}
}
