package ops

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"mailproxy/tests/harness"
)

// A machine is this machine with all its packages, under another root: what is changed there is kept in
// memory and thrown away.
type machine struct {
	root, upper string
	enter       []string // a program and its arguments that run the rest on the machine
}

// newMachine mounts an overlay over the whole file system, with /run and /tmp empty.
func newMachine(t *testing.T) *machine {
	t.Helper()
	dir := harness.Dir(t)
	mount := func(source, target, kind string, flags uintptr, data string) {
		t.Helper()
		if err := unix.Mount(source, target, kind, flags, data); err != nil {
			t.Fatalf("mount %s: %v", target, err)
		}
	}
	mount("tmpfs", dir, "tmpfs", 0, "mode=755")
	m := &machine{root: filepath.Join(dir, "root"), upper: filepath.Join(dir, "upper")}
	work := filepath.Join(dir, "work")
	for _, d := range []string{m.root, m.upper, work} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	mount("overlay", m.root, "overlay", 0, "lowerdir=/,upperdir="+m.upper+",workdir="+work)
	mount("tmpfs", m.root+"/run", "tmpfs", 0, "mode=755")
	mount("tmpfs", m.root+"/tmp", "tmpfs", 0, "mode=1777")
	mount("/dev", m.root+"/dev", "", unix.MS_BIND|unix.MS_REC, "")
	mount("proc", m.root+"/proc", "proc", 0, "")
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	m.enter = []string{"chroot", m.root}
	// Users that a real installation has left here would hide that the package makes none.
	for _, user := range users {
		exec.Command("chroot", m.root, "userdel", user).Run()
	}
	exec.Command("chroot", m.root, "groupdel", "mailproxy-keys").Run()
	return m
}

// users are those that the package makes.
var users = []string{"mailproxy", "mailproxy-auth", "mailproxy-login"}

// wantGroups: each user has its own group alone, but for that of resident front ends.
func (m *machine) wantGroups(t *testing.T) {
	t.Helper()
	for _, user := range users {
		want := user
		if user == "mailproxy-login" {
			want += " mailproxy-keys"
		}
		if got := strings.TrimSpace(m.run(t, "id", "-Gn", user)); got != want {
			t.Errorf("user %s is in groups %s instead of %s", user, got, want)
		}
	}
}

func (m *machine) command(args ...string) *exec.Cmd {
	args = append(slices.Clone(m.enter), args...)
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive", "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
		"LC_ALL=C.UTF-8")
	return cmd
}

// run runs a program on the machine and returns its output.
func (m *machine) run(t *testing.T, args ...string) string {
	t.Helper()
	out, err := m.command(args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// dpkg runs dpkg as an unattended upgrade does.
func (m *machine) dpkg(t *testing.T, args ...string) {
	t.Helper()
	out := m.run(
		t,
		append(
			[]string{"dpkg", "--force-confdef", "--force-confold", "--force-unsafe-io", "--no-triggers"},
			args...)...)
	if strings.Contains(out, "warning:") {
		t.Errorf("dpkg %v warns:\n%s", args, out)
	}
}

func (m *machine) path(name string) string { return filepath.Join(m.root, name) }

func (m *machine) read(t *testing.T, name string) string {
	t.Helper()
	text := harness.ReadFile(t, m.path(name))
	return text
}

// add appends to a file and keeps owner and mode.
func (m *machine) add(t *testing.T, name, text string) {
	t.Helper()
	f, err := os.OpenFile(m.path(name), os.O_APPEND|os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteString(text)
	}
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
}

// nextVersion repacks the package as the next version, with a line more in two of the configuration files.
func nextVersion(t *testing.T, deb string) string {
	t.Helper()
	dir := filepath.Join(harness.Dir(t), "next")
	harness.Run(t, "", "dpkg-deb", "-R", deb, dir)
	for name, edit := range map[string]func(string) string{
		"DEBIAN/control": func(s string) string {
			return regexp.MustCompile(`(?m)^Version: .*$`).ReplaceAllString(s, "Version: 999")
		},
		"etc/mailproxy/imapd": func(s string) string { return s + "# of version 999\n" },
		"etc/mailproxy/pop3d": func(s string) string { return s + "# of version 999\n" },
	} {
		path := filepath.Join(dir, name)
		text, err := os.ReadFile(path)
		if err == nil {
			err = os.WriteFile(path, []byte(edit(string(text))), 0)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	// What packed it the first time wrote sums that no longer fit.
	os.Remove(filepath.Join(dir, "DEBIAN/md5sums"))
	next := dir + ".deb"
	harness.Run(t, "", "dpkg-deb", "-Zgzip", "-z1", "-b", dir, next)
	return next
}

// copyIn puts a file into the machine's /tmp.
func (m *machine) copyIn(t *testing.T, file string) string {
	t.Helper()
	harness.Run(t, "", "cp", file, m.path("/tmp"))
	return "/tmp/" + filepath.Base(file)
}

// belongs are the files of the package with owner, group and mode after its installation.
var belongs = map[string]string{
	"/etc/mailproxy":                                        "root:root:755",
	"/etc/mailproxy/imapd":                                  "root:mailproxy-keys:640",
	"/etc/mailproxy/imapd-ssl":                              "root:mailproxy-keys:640",
	"/etc/mailproxy/pop3d":                                  "root:mailproxy-keys:640",
	"/etc/mailproxy/pop3d-ssl":                              "root:mailproxy-keys:640",
	"/etc/mailproxy/relayd":                                 "root:mailproxy:640",
	"/etc/mailproxy/authdaemonrc":                           "root:mailproxy-auth:640",
	"/etc/mailproxy/authmysqlrc":                            "root:mailproxy-auth:640",
	"/etc/mailproxy/authpgsqlrc":                            "root:mailproxy-auth:640",
	"/etc/mailproxy/authldaprc":                             "root:mailproxy-auth:640",
	"/etc/mailproxy/userdb":                                 "mailproxy-auth:mailproxy-auth:600",
	"/usr/lib/mailproxy/imapd-proxy":                        "root:root:755",
	"/usr/lib/mailproxy/pop3d-proxy":                        "root:root:755",
	"/usr/lib/mailproxy/authdaemond":                        "root:root:755",
	"/usr/lib/mailproxy/relayd":                             "root:root:755",
	"/usr/lib/mailproxy/mailproxyctl":                       "root:root:755",
	"/usr/share/man/man8/imapd-proxy.8.gz":                  "root:root:644",
	"/usr/lib/sysusers.d/mailproxy.conf":                    "root:root:644",
	"/run/mailproxy":                                        "root:root:755",
	"/run/mailproxy/authdaemon":                             "root:root:755",
	"/run/mailproxy/relayd":                                 "root:root:755",
	"/run/mailproxy/local":                                  "root:root:755",
	"/run/mailproxy/authdaemon-metrics":                     "mailproxy-auth:mailproxy-auth:750",
	"/run/mailproxy/relayd-metrics":                         "mailproxy:mailproxy:750",
	"/usr/lib/systemd/system/imapd-proxy.socket":            "root:root:644",
	"/usr/lib/systemd/system/mailproxy-authdaemond.service": "root:root:644",
	"/usr/lib/systemd/system/imapd-proxy-resident.service":  "root:root:644",
}

func (m *machine) wantFiles(t *testing.T) {
	t.Helper()
	for name, want := range belongs {
		if got := strings.TrimSpace(m.run(t, "stat", "-c", "%U:%G:%a", name)); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

// TestPackage installs the Debian package, logs in through it, upgrades, removes and purges it, with dpkg.
func TestPackage(t *testing.T) {
	deb := builtPackage(t, "deb")
	m := newMachine(t)
	m.dpkg(t, "-i", m.copyIn(t, deb))
	m.wantFiles(t)
	for _, script := range []string{"postinst", "prerm", "postrm"} {
		m.run(t, "sh", "-n", "/var/lib/dpkg/info/mailproxy."+script)
	}
	for _, user := range users {
		if got := m.run(t, "getent", "passwd", user); !strings.Contains(got, ":/run/mailproxy:/usr/sbin/nologin") {
			t.Errorf("user %q", got)
		}
	}
	m.wantGroups(t)
	// A second run of the script, as after an interrupted installation, changes nothing.
	m.run(t, "/var/lib/dpkg/info/mailproxy.postinst", "configure")
	m.wantFiles(t)
	m.loginAsInstalled(t)

	m.add(t, "/etc/mailproxy/imapd", "# mine\n")
	m.dpkg(t, "-i", m.copyIn(t, nextVersion(t, deb)))
	m.wantFiles(t)
	if got := m.run(t, "dpkg-query", "-W", "-f", "${Version} ${db:Status-Abbrev}",
		"mailproxy"); got != "999 ii " {
		t.Errorf("after the upgrade: %q", got)
	}
	if text := m.read(t, "/etc/mailproxy/imapd"); !strings.HasSuffix(text, "# mine\n") {
		t.Errorf("an edited file was replaced: %q", text)
	}
	if text := m.read(t, "/etc/mailproxy/pop3d"); !strings.HasSuffix(text, "# of version 999\n") {
		t.Error("a file as shipped was not replaced by its new version")
	}
	if text := m.read(t, "/etc/mailproxy/userdb"); !strings.Contains(text, "user0\t") {
		t.Error("the accounts are gone after an upgrade")
	}

	m.dpkg(t, "-r", "mailproxy")
	for name := range belongs {
		_, err := os.Stat(m.path(name))
		if kept := strings.HasPrefix(name, "/etc/") || strings.HasPrefix(name, "/run/"); kept != (err == nil) {
			t.Errorf("removed: %s: %v", name, err)
		}
	}
	m.dpkg(t, "-P", "mailproxy")
	m.wantNothingLeft(t)
	// The user is still there: it must not be in the way of the next installation.
	m.dpkg(t, "-i", m.copyIn(t, deb))
	m.wantFiles(t)
}

// wantNothingLeft looks at everything that is not as it was: only what dpkg and the commands for users write
// themselves may be there.
func (m *machine) wantNothingLeft(t *testing.T) {
	t.Helper()
	systems := regexp.MustCompile(
		`^(var/lib/dpkg/|var/log/|var/cache/|etc/(passwd|group|shadow|gshadow|subuid|subgid)-?$|etc/\.pwd\.lock$)`)
	err := filepath.WalkDir(m.upper, func(path string, d fs.DirEntry, err error) error {
		name, _ := filepath.Rel(m.upper, path)
		if err != nil || d.IsDir() && !strings.Contains(name, "mailproxy") || systems.MatchString(name) {
			return err
		}
		// A whiteout: the file system below had a file of this name.
		if d.Type()&fs.ModeCharDevice != 0 {
			return nil
		}
		t.Errorf("left after purge: %s", name)
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(m.path("/run/mailproxy")); err == nil {
		t.Error("left after purge: /run/mailproxy")
	}
}

// unit returns a setting of an installed unit.
func (m *machine) unit(t *testing.T, unit, setting string) string {
	t.Helper()
	found := regexp.MustCompile(`(?m)^` + setting + `=(.*)$`).
		FindStringSubmatch(m.read(t, "/usr/lib/systemd/system/"+unit))
	if found == nil {
		t.Fatalf("%s has no %s", unit, setting)
	}
	return found[1]
}

// service starts a unit's program when its socket is first used, as the unit's user.
func (m *machine) service(t *testing.T, name, listen string, options ...string) *harness.Process {
	t.Helper()
	socket, user := m.unit(t, name+".socket", listen), m.unit(t, name+".service", "User")
	args := append(append([]string{"systemd-socket-activate"}, options...), "-l", socket, "setpriv",
		"--reuid="+user, "--regid="+user, "--clear-groups")
	for _, word := range strings.Fields(m.unit(t, name+".service", "ExecStart")) {
		if !strings.HasPrefix(word, "$") {
			args = append(args, strings.Trim(word, `"`))
		}
	}
	p := harness.Start(t, m.command(args...))
	if !harness.Eventually(func() bool { _, err := os.Stat(m.path(socket)); return err == nil }) {
		t.Fatalf("%s does not listen:\n%s", name, p.Log)
	}
	return p
}

// loginAsInstalled starts what the units start, with the configuration as it was installed and one account
// more, and logs in.
func (m *machine) loginAsInstalled(t *testing.T) {
	t.Helper()
	there, _ := accounts(1)
	harness.Dovecot(t, harness.DovecotOptions{Addr: mailhost, Accounts: there})
	hash := strings.TrimSpace(harness.Run(t, "user0\n", "openssl", "passwd", "-6", "-stdin"))
	m.add(t, "/etc/mailproxy/userdb",
		"user0\tuid=2000|gid=2000|home=/nonexistent|options=mailhost="+mailhost+"|systempw="+hash+"\n")
	for _, name := range []string{"imapd.pem", "pop3d.pem"} {
		pem := "/etc/mailproxy/" + name
		m.run(t, "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
			"-days", "2", "-subj", "/CN=localhost", "-keyout", "/tmp/key.pem", "-out", "/tmp/cert.pem")
		m.run(t, "sh", "-c", "umask 077; cat /tmp/cert.pem /tmp/key.pem > "+pem)
	}
	auth := m.service(t, "mailproxy-authdaemond", "ListenStream")
	relayd := m.service(t, "mailproxy-relayd", "ListenSequentialPacket", "--seqpacket")
	for i, protocol := range []string{"imap", "pop3"} {
		unit := protocol + "d-proxy@.service"
		addr := fmt.Sprintf("127.0.4.%d:%s", i+1, m.unit(t, protocol+"d-proxy.socket", "ListenStream"))
		args := []string{
			"systemd-socket-activate", "--accept", "--inetd", "-l", addr, "-E", m.unit(t, unit, "Environment"),
		}
		args = append(args, strings.Fields(strings.TrimPrefix(m.unit(t, unit, "ExecStart"), "-"))...)
		front := harness.Start(t, m.command(args...))
		front.WaitListen(t, addr)
		play(t, addr, logins[protocol].good).Conn.Close()
		front.Log.Wait(t, `LOGIN, user=user0, ip=\[::ffff:127\.0\.0\.77\]`)
		relayd.Log.Wait(t, `LOGOUT, user=user0, .*mailhost=127\.0\.0\.3, .*protocol=(?i:`+protocol+`)`)
		out := m.run(t, "/usr/sbin/"+protocol+"d-proxy", "check", "-config", "/etc/mailproxy/"+protocol+"d",
			"-config", "/etc/mailproxy/"+protocol+"d-ssl", "user0")
		if !strings.Contains(out, mailhost) {
			t.Errorf("check does not find the mailhost:\n%s", out)
		}
		front.Stop()
	}
	auth.Stop()
	relayd.Stop()
}
