package ops

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mailproxy/tests/harness"
)

// rpm runs rpm on the machine, which must not warn. The machine is a Debian: no package of rpm's database has
// its shell and its useradd, therefore --nodeps where it counts; Debian's rpm wants to be told that this is
// meant.
func (m *machine) rpm(t *testing.T, args ...string) string {
	t.Helper()
	args = append([]string{"rpm", "--dbpath", "/var/lib/rpm", "--force-debian"}, args...)
	out := m.run(t, args...)
	for line := range strings.Lines(out) {
		saved := strings.HasPrefix(line, "warning: /etc/mailproxy/") &&
			(strings.Contains(line, " saved as ") || strings.Contains(line, " created as "))
		if strings.HasPrefix(line, "warning:") && !saved || strings.HasPrefix(line, "error:") {
			t.Errorf("%v: %s", args, line)
		}
	}
	return out
}

// TestRPM installs the rpm on a booted machine, logs in through it, upgrades it under sessions and removes
// it.
func TestRPM(t *testing.T) {
	file := builtPackage(t, "rpm")
	m := installedBy(t, func(m *machine) {
		// What Debian's way of starting services hides.
		m.run(t, "rm", "/usr/bin/deb-systemd-invoke")
		m.rpm(t, "-i", "--nodeps", m.copyIn(t, file))
		m.wantFiles(t)
		m.wantAsPacked(t)
	})
	for _, user := range users {
		if got := m.run(t, "getent", "passwd", user); !strings.Contains(got, ":/run/mailproxy:/usr/sbin/nologin") {
			t.Errorf("user %q", got)
		}
	}
	m.wantGroups(t)

	m.add(t, "/etc/mailproxy/imapd", "# mine\n")
	next := m.copyIn(t, nextRPM(t))
	m.upgradeInUse(t, func() { m.rpm(t, "-U", "--nodeps", next) })
	m.wantFiles(t)
	if got := strings.TrimSpace(m.rpm(t, "-q", "mailproxy")); !strings.HasPrefix(got, "mailproxy-999.0.0-1.") {
		t.Errorf("after the upgrade: %q", got)
	}
	if text := m.read(t, "/etc/mailproxy/imapd"); !strings.HasSuffix(text, "# mine\n") {
		t.Errorf("an edited file was replaced: %q", text)
	}
	if text := m.read(t, "/etc/mailproxy/imapd.rpmnew"); !strings.HasSuffix(text, "# of version 999\n") {
		t.Error("the new version of an edited file is not beside it")
	}
	if text := m.read(t, "/etc/mailproxy/pop3d"); !strings.HasSuffix(text, "# of version 999\n") {
		t.Error("a file as shipped was not replaced by its new version")
	}
	if text := m.read(t, "/etc/mailproxy/userdb"); !strings.Contains(text, "joe\t") {
		t.Error("the accounts are gone after an upgrade")
	}

	m.rpm(t, "-e", "mailproxy")
	m.wantStopped(t)
	m.wantGone(t)
	for name := range belongs {
		if _, err := os.Stat(m.path(name)); err == nil && name != "/etc/mailproxy" {
			t.Errorf("removed, but there: %s", name)
		}
	}
	// What the administrator has written stays.
	for name, want := range map[string]string{
		"imapd.rpmsave": "# mine\n", "userdb.rpmsave": "joe\t", "imapd.pem": "PRIVATE KEY",
	} {
		if text := m.read(t, "/etc/mailproxy/"+name); !strings.Contains(text, want) {
			t.Errorf("%s without %q: %q", name, want, text)
		}
	}
	// The users are still there: they must not be in the way of the next installation.
	m.run(t, "rm", "-r", "/etc/mailproxy")
	m.rpm(t, "-i", "--nodeps", next)
	m.wantFiles(t)
	m.wantAsPacked(t)
}

// wantAsPacked: contents, owners and modes are what the package says.
func (m *machine) wantAsPacked(t *testing.T) {
	t.Helper()
	if out := m.rpm(t, "-V", "--nodeps", "mailproxy"); out != "" {
		t.Errorf("rpm -V:\n%s", out)
	}
}

// nextRPM builds the package as version 999.0.0, with a line more in two of the configuration files.
func nextRPM(t *testing.T) string {
	t.Helper()
	dist := buildAgain(t, func(dir string) {
		for _, name := range []string{"imapd", "pop3d"} {
			path := filepath.Join(dir, "etc", name)
			text := harness.ReadFile(t, path)
			write(t, path, text+"# of version 999\n", 0o600)
		}
	}, "FORMATS=rpm", "PACKAGE_VERSION=999.0.0")
	found, err := filepath.Glob(filepath.Join(dist, "*.rpm"))
	if err != nil || len(found) != 1 {
		t.Fatal(found, err)
	}
	return found[0]
}

// TestRPMContents: the rpm has the files of the .deb, owns no directory that is another package's, and says
// what each file is.
func TestRPMContents(t *testing.T) {
	file := builtPackage(t, "rpm")
	query := func(args ...string) []string {
		return strings.Fields(harness.Run(t, "", "rpm", append(append([]string{"-qp"}, args...), file)...))
	}
	files := query("-l")
	const lists = `dpkg-deb --fsys-tarfile "$0" | tar -t`
	deb := strings.Fields(harness.Run(t, "", "sh", "-c", lists, builtPackage(t, "deb")))
	for i, name := range deb {
		deb[i] = strings.TrimPrefix(name, ".")
	}
	// Each kind has its own documents; dpkg's has the directories of others, too.
	own := func(name string) bool {
		return strings.HasSuffix(name, "/changelog.gz") || strings.HasSuffix(name, "/copyright") ||
			strings.Contains(name, "/lintian/") || strings.HasSuffix(name, "/")
	}
	for _, name := range deb {
		if !own(name) && !slices.Contains(files, name) {
			t.Errorf("only in the .deb: %s", name)
		}
	}
	for _, name := range files {
		license := strings.HasPrefix(name, "/usr/share/licenses/") || strings.HasSuffix(name, "/CHANGELOG.md")
		if !license && !slices.Contains(deb, name) && !slices.Contains(deb, name+"/") {
			t.Errorf("only in the rpm: %s", name)
		}
	}
	var configs []string
	const marks = "[%{FILENAMES} %{FILEMODES:perms} %{FILEFLAGS:fflags}\n]"
	for line := range strings.Lines(harness.Run(t, "", "rpm", "-qp", "--qf", marks, file)) {
		fields := strings.Fields(line)
		name, mode, flags := fields[0], fields[1], strings.Join(fields[2:], "")
		if mode[0] == 'd' && !strings.Contains(name, "mailproxy") {
			t.Errorf("a directory that is not ours: %s", name)
		}
		if strings.HasPrefix(name, "/etc/") && mode[0] == '-' {
			configs = append(configs, name)
			if flags != "cn" {
				t.Errorf("%s is not marked as configuration to keep: %q", name, flags)
			}
		}
		if strings.HasPrefix(name, "/usr/share/licenses/") && mode[0] == '-' && flags != "l" {
			t.Errorf("%s is not marked as a licence: %q", name, flags)
		}
	}
	if len(configs) < 10 {
		t.Errorf("configuration: %q", configs)
	}
	text := harness.Source(t, "LICENSE")
	first, _, _ := strings.Cut(text, "\n")
	if got := harness.Run(t, "", "rpm", "-qp", "--qf", "%{LICENSE}", file); got != first {
		t.Errorf("the licence is %q in the rpm, %q in LICENSE", got, first)
	}
}
