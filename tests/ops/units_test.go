package ops

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"mailproxy/tests/harness"
)

// stage installs the project as "make install" does for a package, with the programs of the test, and returns
// the directory.
func stage(t *testing.T) string {
	t.Helper()
	root := harness.Dir(t)
	for place, files := range map[string]string{"usr/lib/systemd/system": "etc/systemd/*",
		"etc/mailproxy": "etc/[a-z]*"} {
		names, err := filepath.Glob(filepath.Join(harness.Root(t), files))
		if err != nil || len(names) == 0 {
			t.Fatalf("nothing matches %s: %v", files, err)
		}
		for _, name := range names {
			text, err := os.ReadFile(name)
			if err != nil {
				continue // a directory
			}
			write(t, filepath.Join(root, place, filepath.Base(name)), string(text), 0o644)
		}
	}
	for link, program := range map[string]string{"imapd-proxy": "imapd-proxy", "pop3d-proxy": "pop3d-proxy",
		"mailproxy-authdaemond": "authdaemond", "mailproxy-relayd": "relayd"} {
		text := harness.ReadFile(t, harness.PlainBin(t, program))
		write(t, filepath.Join(root, "usr/sbin", link), text, 0o755)
	}
	// What the units name besides.
	for _, unit := range []string{"multi-user", "sockets", "basic", "sysinit", "shutdown", "network-online",
		"network"} {
		write(t, filepath.Join(root, "usr/lib/systemd/system", unit+".target"), "[Unit]\nDescription=x\n", 0o644)
	}
	write(t, filepath.Join(root, "bin/kill"), "#!/bin/sh\n", 0o755)
	return root
}

func write(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	err := os.MkdirAll(filepath.Dir(path), 0o755)
	if err == nil {
		err = os.WriteFile(path, []byte(text), mode)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// exposure is what the services that stay may have at most. authdaemond speaks to databases over the network,
// and resident front ends to clients and mailhosts.
var exposure = map[string]string{"mailproxy-authdaemond.service": "18", "mailproxy-relayd.service": "15",
	"imapd-proxy-resident.service": "18", "pop3d-proxy-resident.service": "18"}

// TestUnits: systemd understands every unit without a word, and thinks the hardened ones well enough
// protected. Its measure is the exposure from 0 (none) to 100: up to 41 for the front ends, which start as
// root, become any user and run a local server; it counts settings that their units leave out because they
// would forbid a second time what is impossible already.
func TestUnits(t *testing.T) {
	root := stage(t)
	units, err := filepath.Glob(filepath.Join(root, "usr/lib/systemd/system/*proxy*"))
	if err != nil || len(units) != 22 {
		t.Fatalf("%d units, %v", len(units), err)
	}
	args := []string{"verify", "--man=no", "--root=" + root}
	for _, unit := range units {
		args = append(args, filepath.Base(unit))
	}
	if out, err := exec.Command("systemd-analyze", args...).CombinedOutput(); err != nil || len(out) != 0 {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
	for _, unit := range units {
		name := filepath.Base(unit)
		if !strings.HasSuffix(name, ".service") {
			continue
		}
		threshold := "41"
		if most, ok := exposure[name]; ok {
			threshold = most
		}
		out, err := exec.Command("systemd-analyze", "security", "--offline=yes", "--no-pager", "--root="+root,
			"--threshold="+threshold, name).
			CombinedOutput()
		if err != nil {
			t.Errorf("%s: more exposed than %s: %v\n%s", name, threshold, err, out)
			continue
		}
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		t.Log(lines[len(lines)-1])
	}
}
