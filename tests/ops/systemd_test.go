package ops

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"mailproxy/tests/harness"
)

// fronts are the front ends' units, each the name of a socket and of a template, by port.
var fronts = map[string]string{
	"143": "imapd-proxy", "993": "imapd-proxy-ssl", "110": "pop3d-proxy", "995": "pop3d-proxy-ssl",
}

// installed is a booted machine with the Debian package.
func installed(t *testing.T) *machine {
	t.Helper()
	deb := builtPackage(t, "deb")
	return installedBy(t, func(m *machine) {
		harness.Run(t, "", "mkdir", m.path("/tmp/dist"))
		harness.Run(t, "", "cp", deb, m.path("/tmp/dist"))
		m.run(t, "sh", "-e", "-c", "cd /tmp\n"+recipes(t, "docs/install.md")["The package"])
	})
}

// installedBy boots a machine, installs the package on it and does what docs/install.md says, with an account
// that is elsewhere, ann, and one that is here, joe. A system call that a unit forbids kills.
func installedBy(t *testing.T, install func(m *machine)) *machine {
	t.Helper()
	blocks := recipes(t, "docs/install.md")
	m := boot(t)
	harness.Dovecot(
		t,
		harness.DovecotOptions{
			Addr: outside, Accounts: []harness.Account{
				{Name: "ann@example.com", Password: "secret"}, {Name: "dan@example.com", Password: "secret"},
			},
		},
	)
	for _, unit := range []string{"imapd-proxy@", "imapd-proxy-ssl@", "pop3d-proxy@", "pop3d-proxy-ssl@",
		"imapd-proxy-local@", "pop3d-proxy-local@", "imapd-proxy-resident", "pop3d-proxy-resident",
		"mailproxy-authdaemond", "mailproxy-relayd"} {
		write(t, m.path("/etc/systemd/system/"+unit+".service.d/kill.conf"), "[Service]\nSystemCallErrorNumber=\n",
			0o644)
	}
	install(m)
	for _, title := range []string{"An account", "A certificate", "Started by systemd"} {
		if blocks[title] == "" {
			t.Fatalf("docs/install.md has no recipe %q", title)
		}
		m.run(t, "sh", "-e", "-c", "cd /tmp\n"+strings.ReplaceAll(blocks[title], mailhost, outside))
	}
	m.run(t, "sh", "-e", "-c", fmt.Sprintf(`mkdir -p /srv/mail/joe
maildirmake.courier /srv/mail/joe/Maildir
chown -R %[1]d:%[1]d /srv/mail/joe
hash=$(openssl passwd -6 secret)
printf 'joe\tuid=%[1]d|gid=%[1]d|home=/srv/mail/joe|systempw=%%s\n' "$hash" >>/etc/mailproxy/userdb
`, harness.MailID))
	return m
}

// held is the number of sessions that relayd has.
func (m *machine) held(t *testing.T, n int) {
	t.Helper()
	who := ""
	if !harness.Eventually(func() bool {
		who = strings.TrimSpace(m.run(t, "/usr/sbin/mailproxy-relayd", "who"))
		return strings.Count(who, "\n")+1 == n && who != "" || n == 0 && who == ""
	}) {
		t.Fatalf("relayd holds, instead of %d sessions:\n%s", n, who)
	}
}

// TestSystemd runs the package's units under systemd as process 1, as docs/install.md starts them.
func TestSystemd(t *testing.T) {
	m := installed(t)
	t.Run("sessions", m.testSessions)
	t.Run("rights", m.testRights)
	t.Run("reach", m.testReach)
	t.Run("relayd", m.testRelayd)
	t.Run("authdaemond", m.testAuthdaemond)
	t.Run("journal", m.testJournal)
	t.Run("Courier", m.testCourierAuthdaemon)
	t.Run("package", m.testPackage)
}

// testSessions: each socket, an account that is elsewhere and one that is here.
func (m *machine) testSessions(t *testing.T) {
	var visits []*visit
	for port := range fronts {
		for _, user := range []string{"ann@example.com", "joe"} {
			visits = append(visits, m.visit(t, port, user))
		}
	}
	m.held(t, 6) // ann's, and those of joe's that have TLS
	for port, unit := range fronts {
		m.running(t, unit+"@*.service", 1) // joe's
		for _, v := range visits {
			if v.port == port {
				v.alive(t)
			}
		}
	}
	for _, v := range append(visits, m.visitStartTLS(t)) {
		v.alive(t)
		v.leave(t)
	}
	m.held(t, 0)
	for _, unit := range fronts {
		m.gone(t, unit)
	}
}

// gone waits until no process of a front end is left. A file alteration monitor that Courier's imapd has
// started waits for half a minute for another user of its own accord.
func (m *machine) gone(t *testing.T, unit string) {
	t.Helper()
	_ = m.command("pkill", "-x", "gam_server").Run()
	m.running(t, unit+"@*.service", 0)
}

// probe tries from within a unit what it may not do: it prints the name of everything that worked. The mode
// of the program is that of the unit, with the unit's own error in place of the test's killing.
const probe = `
import ctypes, os, socket
libc = ctypes.CDLL(None, use_errno=True)
def call(*args):
    if libc.syscall(*args) < 0:
        raise OSError(ctypes.get_errno(), "syscall")
def put(path):
    os.close(os.open(path, os.O_WRONLY))
def make(path):
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
def become(uid):
    if os.fork() == 0:
        try:
            os.setgroups([uid]); os.setresgid(uid, uid, uid); os.setresuid(uid, uid, uid); os._exit(0)
        except OSError:
            os._exit(1)
    if os.wait()[1] != 0:
        raise OSError("child")
for name, what in {
    "usr": lambda: make("/usr/probe"), "etc": lambda: make("/etc/probe"),
    "proc": lambda: put("/proc/sys/kernel/domainname"),
    "sys": lambda: put("/sys/kernel/mm/transparent_hugepage/enabled"),
    "cgroup": lambda: put("/sys/fs/cgroup/cgroup.procs"),
    "device": lambda: os.close(os.open("/dev/probe", os.O_RDONLY)),
    "mount": lambda: call(165, b"none", b"/mnt", b"tmpfs", 0, 0), "unshare": lambda: call(272, 0x20000),
    "ptrace": lambda: call(101, 0, 0, 0, 0), "chroot": lambda: os.chroot("/tmp"),
    "bpf": lambda: call(321, 0, 0, 0),
    "netlink": lambda: socket.socket(16, 3, 0), "packet": lambda: socket.socket(17, 3, 0),
    "personality": lambda: call(135, 0x40000), "suid": lambda: os.chmod("/tmp/here", 0o4755),
    "tmp": lambda: make("/tmp/here"), "become": lambda: become(8),
}.items():
    try:
        what()
        print(name)
    except OSError:
        pass
`

// testRights: units take from the programs what they say, and leave what they need.
func (m *machine) testRights(t *testing.T) {
	// A connection before its login.
	early := harness.Dialogue(t, inside+":143", "S* \\* OK .*\n")
	unit := strings.Fields(m.run(t, "systemctl", "list-units", "--no-legend", "--plain", "imapd-proxy@*"))[0]
	joe := m.visit(t, "110", "joe")
	server := strings.Fields(m.run(t, "pgrep", "-f", "courierpop3d"))[0]
	ann := m.visit(t, "993", "ann@example.com")
	none := "0000000000000000"
	for _, p := range []struct{ name, pid, uid, effective, bounding string }{
		{"front end", m.mainPID(t, unit), "0", "00000000000000cb", "00000000000000cb"},
		{"local server", server, fmt.Sprint(harness.MailID), none, "00000000000000cb"},
		{"relayd", m.mainPID(t, "mailproxy-relayd.service"), "mailproxy", none, none},
		{"authdaemond", m.mainPID(t, "mailproxy-authdaemond.service"), "mailproxy-auth", none, none},
	} {
		if strings.HasPrefix(p.uid, "mailproxy") {
			p.uid = strings.TrimSpace(m.run(t, "id", "-u", p.uid))
		}
		for name, want := range map[string]string{"Uid": strings.Join([]string{p.uid, p.uid, p.uid, p.uid}, " "),
			"CapEff": p.effective,
			"CapBnd": p.bounding, "NoNewPrivs": "1", "Seccomp": "2"} {
			if got := m.status(t, p.pid, name); got != want {
				t.Errorf("%s: %s is %q, want %q", p.name, name, got, want)
			}
		}
	}
	if m.run(t, "readlink", "/proc/"+m.mainPID(t, "mailproxy-relayd.service")+"/ns/net") == m.run(t, "readlink",
		"/proc/1/ns/net") {
		t.Error("relayd has the machine's network")
	}
	ann.leave(t)
	joe.leave(t)
	early.Conn.Close()

	m.run(t, "mknod", "/dev/probe", "c", "1", "11") // the kernel's log
	write(t, m.path("/usr/local/lib/probe.py"), probe, 0o644)
	for unit, want := range map[string]string{
		"imapd-proxy@.service":          "tmp become",
		"imapd-proxy-ssl@.service":      "tmp become",
		"pop3d-proxy@.service":          "tmp become",
		"pop3d-proxy-ssl@.service":      "tmp become",
		"mailproxy-authdaemond.service": "tmp",
	} {
		could := m.inUnit(t, unit, "/usr/bin/python3 /usr/local/lib/probe.py", "")
		if got := strings.Join(could, " "); got != want {
			t.Errorf("%s: a program in it can %q, want %q", unit, got, want)
		}
	}
	if _, err := os.Stat(m.path("/tmp/here")); err == nil {
		t.Error("a unit's /tmp is the machine's")
	}
}

// testRelayd: a reload keeps every session, a restart ends them, and the next login starts what was stopped.
func (m *machine) testRelayd(t *testing.T) {
	const service, socket = "mailproxy-relayd.service", "mailproxy-relayd.socket"
	var visits []*visit
	for port := range fronts {
		visits = append(visits, m.visit(t, port, "ann@example.com"))
	}
	m.held(t, 4)
	for range 10 {
		before := m.mainPID(t, service)
		m.run(t, "systemctl", "reload", service)
		if !harness.Eventually(func() bool { return m.mainPID(t, service) != before }) {
			t.Fatal("a reload leaves the main process as it was")
		}
		m.held(t, 4)
	}
	for _, v := range visits {
		v.alive(t)
	}
	visits = append(visits, m.visit(t, "143", "ann@example.com"))
	m.held(t, 5)
	if state := m.property(t, service, "ActiveState"); state != "active" {
		t.Errorf("after a reload it is %s", state)
	}
	procs := ""
	if !harness.Eventually(func() bool {
		procs = strings.TrimSpace(m.run(t, "cat", "/sys/fs/cgroup/system.slice/"+service+"/cgroup.procs"))
		return procs == m.mainPID(t, service)
	}) {
		t.Errorf("after a reload its processes are %q", strings.Fields(procs))
	}

	m.run(t, "kill", "-KILL", m.mainPID(t, service)) // a process that another one has started
	if !harness.Eventually(func() bool { return m.property(t, service, "NRestarts") == "1" }) {
		t.Error("systemd does not notice that the process of after a reload has died")
	}
	for _, v := range visits {
		v.MustPlay(t, "S-")
	}
	v := m.visit(t, "143", "ann@example.com")
	m.held(t, 1)
	third := m.mainPID(t, service)
	m.run(t, "systemctl", "restart", service)
	if m.mainPID(t, service) == third {
		t.Error("a restart leaves the main process as it was")
	}
	v.MustPlay(t, "S-")

	// A new version that does not work, and its old one back.
	v = m.visit(t, "143", "ann@example.com")
	fourth := m.mainPID(t, service)
	m.run(t, "mv", "/usr/lib/mailproxy/relayd", "/usr/lib/mailproxy/relayd.ok")
	write(t, m.path("/usr/lib/mailproxy/relayd"), "not a program", 0o755)
	m.run(t, "systemctl", "reload", service)
	m.waitJournal(t, "failed restart",
		func(e entry) bool { return strings.Contains(e.Message, "exec format error") && e.Priority < "5" }, "-t",
		"relayd")
	v.alive(t)
	m.run(t, "mv", "/usr/lib/mailproxy/relayd.ok", "/usr/lib/mailproxy/relayd")
	if got := m.mainPID(t, service); got != fourth {
		t.Errorf("after a failed reload process %s is the main one instead of %s", got, fourth)
	}
	v.leave(t)

	m.add(t, "/etc/mailproxy/relayd",
		"RELAYD_OPTIONS='-allow courier,mail -metrics unix:/run/mailproxy/relayd-metrics/socket -maxperuser 100'\n")
	v = m.visit(t, "143", "ann@example.com")
	m.run(t, "systemctl", "reload", service)
	if !harness.Eventually(func() bool { return m.mainPID(t, service) != fourth }) {
		t.Fatal("a reload with new options leaves the main process as it was")
	}
	v.alive(t)
	if text := m.run(t, "curl", "-sS", "--unix-socket", "/run/mailproxy/relayd-metrics/socket",
		"http://relayd/metrics"); !strings.Contains(
		text,
		"sessions",
	) {
		t.Errorf("metrics of relayd: %s", text)
	}
	m.run(t, "systemctl", "reload", service)
	m.run(t, "/usr/sbin/mailproxy-relayd", "stats")
	m.run(t, "/usr/sbin/mailproxy-relayd", "kick", "ann@example.com")
	v.MustPlay(t, "S-")

	m.run(t, "systemctl", "stop", service)
	v = m.visit(t, "143", "ann@example.com")
	m.held(t, 1) // started by its socket
	v.leave(t)

	m.run(t, "systemctl", "stop", service, socket)
	v = m.visit(t, "143", "ann@example.com")
	v.alive(t)
	m.running(t, "imapd-proxy@*", 1)
	login := strings.TrimSpace(m.run(t, "id", "-u", "mailproxy-login"))
	if uid := m.status(t, strings.Fields(m.run(t, "pgrep", "-x", "imapd-proxy"))[0], "Uid"); uid != strings.Join(
		[]string{login, login, login, login}, " ") {
		t.Errorf("a session without relayd runs as %s", uid)
	}
	v.leave(t)
	m.running(t, "imapd-proxy@*", 0)
	m.run(t, "systemctl", "start", socket)
}

// testAuthdaemond: reload, restart and stop are unnoticed as long as its socket is there; without it each
// login starts one.
func (m *machine) testAuthdaemond(t *testing.T) {
	const service, socket = "mailproxy-authdaemond.service", "mailproxy-authdaemond.socket"
	for _, order := range [][]string{{"reload", service}, {"restart", service}, {"stop", service},
		{"stop", service, socket}} {
		m.run(t, append([]string{"systemctl"}, order...)...)
		m.visit(t, "143", "ann@example.com").leave(t)
		m.visit(t, "110", "joe").leave(t)
		if len(order) == 2 {
			m.running(t, service, 1)
		}
	}
	m.running(t, service, 0)
	m.add(t, "/etc/mailproxy/authdaemonrc", "AUTH_METRICS=/run/mailproxy/authdaemon-metrics/socket\n")
	m.run(t, "systemctl", "start", socket, service)
	if text := m.run(t, "curl", "-sS", "--unix-socket", "/run/mailproxy/authdaemon-metrics/socket",
		"http://authdaemond/metrics"); !strings.Contains(
		text,
		"authdaemond_requests_total",
	) {
		t.Errorf("metrics of authdaemond: %s", text)
	}
	m.visit(t, "143", "ann@example.com").leave(t)
	m.running(t, service, 1)
}

// testJournal: lines have the level, the facility and the name that they should, and the text has none of
// them; systemd has nothing to complain of.
func (m *machine) testJournal(t *testing.T) {
	const refused = "S* \\* OK .*\nC: a LOGIN ann@example.com wrong\nS~ a NO .*\n"
	harness.Dialogue(t, inside+":143", refused).Conn.Close()
	m.run(t, "journalctl", "--sync")
	const ann = `user=ann@example\.com, ip=\[::ffff:192\.0\.2\.1\], port=\[\d+\]`
	for name, want := range map[string]string{
		"imapd":       `^LOGIN, ` + ann + `, protocol=IMAP$`,
		"pop3d":       `^LOGIN, ` + ann + `, protocol=POP3$`,
		"imapd-ssl":   `^LOGIN, ` + ann + `, protocol=IMAP, starttls=1$`,
		"pop3d-ssl":   `^LOGIN, ` + ann + `, protocol=POP3, stls=1$`,
		"relayd":      `^LOGOUT, ` + ann + `, mailhost=192\.0\.2\.1, `,
		"authdaemond": `^authdaemond \S+: modules=\["authuserdb"\]`,
	} {
		re := regexp.MustCompile(want)
		m.waitJournal(t, name+": "+want,
			func(e entry) bool { return e.Priority == "6" && re.MatchString(e.Message) }, "-t", name)
	}
	m.waitJournal(t, "failed login", func(e entry) bool {
		return strings.HasPrefix(e.Message, "LOGIN FAILED, user=ann@example.com") && e.Priority == "6"
	}, "-t", "imapd")
	theirs := regexp.MustCompile(
		`^INFO: (LOGIN|LOGOUT|DISCONNECTED), user=joe,`) // Courier's imapd and pop3d write for courierlogger
	prefix := regexp.MustCompile(
		`^(CRIT|ERR|WARN|NOTICE|INFO|DEBUG): |^<\d>|^(imapd|pop3d|relayd|authdaemond)(-ssl)?: `)
	for _, name := range []string{"imapd", "imapd-ssl", "pop3d", "pop3d-ssl", "relayd", "authdaemond"} {
		for _, e := range m.journal(t, "-t", name) {
			if e.Facility != "2" {
				t.Errorf("%s: facility %s: %s", name, e.Facility, e.Message)
			}
			if prefix.MatchString(e.Message) && !theirs.MatchString(e.Message) {
				t.Errorf("%s: a prefix in the text: %s", name, e.Message)
			}
		}
	}
	killed := regexp.MustCompile(
		`mailproxy-relayd\.service: (Main process exited, code=killed, status=9/KILL|Failed with result 'signal')`,
	) // by this test
	for _, e := range m.journal(t, "-p", "warning", "_PID=1") {
		if !killed.MatchString(e.Message) {
			t.Errorf("systemd: %s", e.Message)
		}
	}
	if failed := m.run(t, "systemctl", "--failed", "--no-legend", "--plain"); failed != "" {
		t.Errorf("failed:\n%s", failed)
	}
}
