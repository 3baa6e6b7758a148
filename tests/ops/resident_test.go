package ops

import (
	"net"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"mailproxy/tests/harness"
)

// residents are the services that serve all connections, with the ports of each.
var residents = map[string][]string{
	"imapd-proxy-resident.service": {"143", "993"}, "pop3d-proxy-resident.service": {"110", "995"},
}

// do runs a recipe of docs/install.md.
func (m *machine) do(t *testing.T, title string) {
	t.Helper()
	recipe := recipes(t, "docs/install.md")[title]
	if recipe == "" {
		t.Fatalf("docs/install.md has no recipe %q", title)
	}
	m.run(t, "sh", "-e", "-c", "cd /tmp\n"+recipe)
}

// TestResident runs the package's resident units under systemd as process 1. The machine begins with a
// process for each connection, as installed, and goes over from that as docs/install.md says.
func TestResident(t *testing.T) {
	m := installed(t)
	t.Run("switch", m.testSwitch)
	t.Run("sessions", m.testResidentSessions)
	t.Run("metrics", m.testMetrics)
	t.Run("rights", m.testResidentRights)
	t.Run("reach", m.testResidentReach)
	t.Run("killed", m.testResidentKilled)
	t.Run("reload", m.testResidentReload)
	t.Run("one port", m.testOnePort)
	t.Run("back", m.testBack)
	t.Run("journal", m.testResidentJournal)
	t.Run("package", m.testResidentPackage)
}

// crowdSize is how many log in at the same time.
const crowdSize = 20

// switchCost is how many connections a switch between the two ways may cost, see testSwitch.
const switchCost = 4 * crowdSize

// load are clients that log in to port 143 of the machine without pause.
func (m *machine) load(t *testing.T) *crowd {
	t.Helper()
	return gather(t, crowdSize, func(int) error {
		conn, err := net.DialTimeout("tcp", inside+":143", 30*time.Second)
		if err != nil {
			return err
		}
		defer conn.Close()
		return session(conn, "ann@example.com", "secret", 2*harness.Patience)
	})
}

// more waits until that many more clients have logged in.
func (c *crowd) more(t *testing.T, n int64) {
	t.Helper()
	want := c.good.Load() + n
	if !harness.Eventually(func() bool { return c.good.Load() >= want }) {
		t.Fatalf("%d logins, %d connections lost, refused %q", c.good.Load(), c.lost.Load(), c.refused)
	}
}

// testSwitch: from a process for each connection to resident, under load. Nobody's session ends and nobody's
// login is refused. A connection that waits for systemd when the old socket is stopped is closed: each client
// may lose one, and others if it is back before the stop is over, which takes its time on a crowded machine.
func (m *machine) testSwitch(t *testing.T) {
	var visits []*visit
	for port := range fronts {
		visits = append(visits, m.visit(t, port, "ann@example.com"), m.visit(t, port, "joe"))
	}
	c := m.load(t)
	c.more(t, 50)
	m.do(t, "From one way to the other")
	c.more(t, 200)
	for unit := range residents {
		m.running(t, unit, 1)
	}
	for _, unit := range fronts {
		m.running(t, unit+".socket", 0)
	}
	m.wantCost(t, c, visits, switchCost, 0)
	for _, v := range visits {
		v.leave(t)
	}
}

// wantCost ends the load, says what a change has cost, and looks whether that is what was promised.
func (m *machine) wantCost(t *testing.T, c *crowd, visits []*visit, most int64, mostTold int) {
	t.Helper()
	c.end()
	broken := 0
	for _, v := range visits {
		if v.broken(t) {
			broken++
		}
	}
	lost := c.lost.Load()
	t.Logf(
		"beside %d logins %d connections were lost, and %d told to come back; of %d open sessions %d were broken",
		c.good.Load(), lost, len(c.refused), len(visits), broken)
	if broken > 0 {
		t.Errorf("%d sessions broken", broken)
	}
	if lost > most {
		t.Errorf("%d connections lost, at most %d were promised", lost, most)
	}
	if lost > 0 {
		t.Logf("lost: %q", c.causes)
	}
	told := 0
	for _, text := range c.refused {
		if !strings.HasPrefix(text, "* BYE ") {
			t.Errorf("refused: %q", text)
		}
		told++
	}
	if told > mostTold {
		t.Errorf("%d logins under way were told to come back, at most %d were promised", told, mostTold)
	}
}

// testResidentSessions: each port, STARTTLS and a mailhost by name; an account on this machine is refused,
// and has its local server as soon as PROXY_LOCAL says where.
func (m *machine) testResidentSessions(t *testing.T) {
	refused := m.connect(t, "143")
	refused.MustPlay(t, "S* \\* OK .*\nC: a LOGIN joe secret\nS* a NO \\[CONTACTADMIN\\] .*\n")
	m.do(t, "Resident, with accounts on this machine")
	// A mailhost with a name that is asked for.
	nameServer(t, outside+":53", "mail7.example.com", outside)
	write(t, m.path("/etc/resolv.conf"), "nameserver "+outside+"\n", 0o644)
	hash := strings.TrimSpace(m.run(t, "openssl", "passwd", "-6", "secret"))
	m.add(t, "/etc/mailproxy/userdb",
		"dan@example.com\tuid=2000|gid=2000|home=/nonexistent|options=mailhost=mail7.example.com|systempw="+
			hash+"\n")
	var visits []*visit
	for port := range fronts {
		visits = append(visits, m.visit(t, port, "ann@example.com"), m.visit(t, port, "joe"))
	}
	for unit, n := range map[string]int{"imapd-proxy-local@*": 2, "pop3d-proxy-local@*": 2} {
		m.running(t, unit, n)
	}
	head, _, _ := strings.Cut(m.run(t, "/usr/sbin/mailproxyctl", "stats"), "\n")
	if got := strings.Join(strings.Fields(head), " "); got != "METRIC relayd imapd-proxy pop3d-proxy" {
		t.Errorf("mailproxyctl stats begins with %q", got)
	}
	visits = append(visits, m.visitStartTLS(t), m.visit(t, "143", "dan@example.com"))
	for _, v := range visits {
		v.alive(t)
		v.leave(t)
	}
	m.held(t, 0)
}

// testResidentRights: the units take from the program what they say, and leave what it needs.
func (m *machine) testResidentRights(t *testing.T) {
	id := func(args ...string) string { return strings.TrimSpace(m.run(t, append([]string{"id"}, args...)...)) }
	uid := id("-u", "mailproxy-login")
	keys := strings.Split(m.run(t, "getent", "group", "mailproxy-keys"), ":")[2]
	none := "0000000000000000"
	write(t, m.path("/usr/local/lib/probe.py"), probe, 0o644)
	for unit := range residents {
		pid := m.mainPID(t, unit)
		for name, want := range map[string]string{
			"Uid": strings.Join([]string{uid, uid, uid, uid}, " "), "CapEff": none, "CapBnd": none, "NoNewPrivs": "1",
			"Seccomp": "2",
		} {
			if got := m.status(t, pid, name); got != want {
				t.Errorf("%s: %s is %q, want %q", unit, name, got, want)
			}
		}
		if groups := strings.Fields(m.status(t, pid, "Groups")); !slices.Contains(groups, keys) {
			t.Errorf("%s has the groups %q, without %s", unit, groups, keys)
		}
		could := m.inUnit(t, unit, "/usr/bin/python3 /usr/local/lib/probe.py", "")
		if got := strings.Join(could, " "); got != "tmp" {
			t.Errorf("%s: a program in it can %q, want only its own /tmp", unit, got)
		}
	}
}

// testResidentReach: what somebody who takes over a resident front end can reach: what it is there for, and
// no account file; a process of one connection, which is the same user after the login, reaches nothing.
func (m *machine) testResidentReach(t *testing.T) {
	write(t, m.path("/usr/local/lib/reach.py"), reach, 0o644)
	const python = "/usr/bin/python3 /usr/local/lib/reach.py"
	const login = "/usr/bin/setpriv --reuid=mailproxy-login --regid=mailproxy-login --clear-groups "
	for _, p := range []struct{ unit, program, want string }{
		{"imapd-proxy-resident.service", python, "ask-authdaemond ask-authdaemond-persistent ask-relayd " +
			"ask-local read-imapd read-imapd-ssl read-imapd.pem read-pop3d"},
		{"imapd-proxy-local@.service", login + python, ""},
	} {
		got := m.inUnit(t, p.unit, p.program, `SystemCall\w+`)
		want := append(strings.Fields(p.want), "end")
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("somebody who takes over %s can\n%q, want\n%q", p.unit, got, want)
		}
	}
}

// testResidentKilled: systemd starts the program again, clients wait meanwhile, and sessions that relayd
// holds go on.
func (m *machine) testResidentKilled(t *testing.T) {
	for unit, ports := range residents {
		var visits []*visit
		for _, port := range ports {
			visits = append(visits, m.visit(t, port, "ann@example.com"))
		}
		m.held(t, len(visits))
		before := m.mainPID(t, unit)
		m.run(t, "kill", "-KILL", before)
		// A process that is about to end may still accept a connection.
		if !harness.Eventually(func() bool { return m.command("kill", "-0", before).Run() != nil }) {
			t.Fatalf("process %s does not end", before)
		}
		for _, port := range ports {
			visits = append(visits, m.visit(t, port, "ann@example.com"))
		}
		if after := m.mainPID(t, unit); after == before {
			t.Errorf("%s: process %s is still the main one", unit, after)
		}
		for _, v := range visits {
			v.alive(t)
			v.leave(t)
		}
	}
}

// testResidentReload: without relayd, so that the program holds the sessions itself, and under load. A reload
// costs nothing at all; one that fails changes nothing.
func (m *machine) testResidentReload(t *testing.T) {
	const relayd, socket = "mailproxy-relayd.service", "mailproxy-relayd.socket"
	m.run(t, "systemctl", "stop", socket, relayd)
	defer m.run(t, "systemctl", "start", socket)
	for unit, ports := range residents {
		program := "/usr/lib/mailproxy/" + strings.TrimSuffix(unit, "-resident.service")
		var visits []*visit
		for _, port := range ports {
			visits = append(visits, m.visit(t, port, "ann@example.com"), m.visit(t, port, "joe"))
		}
		c := m.load(t)
		c.more(t, 20)
		for range 3 {
			before := m.mainPID(t, unit)
			m.run(t, "systemctl", "reload", unit)
			if !harness.Eventually(func() bool { return m.mainPID(t, unit) != before }) {
				t.Fatal("a reload leaves the main process as it was")
			}
			c.more(t, 20)
		}
		before := m.mainPID(t, unit)
		m.run(t, "mv", program, program+".ok")
		write(t, m.path(program), "not a program", 0o755)
		m.run(t, "systemctl", "reload", unit)
		m.waitJournal(t, "failed reload", func(e entry) bool {
			return strings.Contains(e.Message, "exec format error") && e.Priority < "5"
		}, "-u", unit)
		m.run(t, "mv", program+".ok", program)
		c.more(t, 20)
		if after := m.mainPID(t, unit); after != before {
			t.Errorf("after a failed reload process %s is the main one instead of %s", after, before)
		}
		if state := m.property(t, unit, "ActiveState"); state != "active" {
			t.Errorf("after a failed reload it is %s", state)
		}
		m.wantCost(t, c, visits, 0, 0)
		for _, v := range visits {
			v.leave(t)
		}
	}
}

// testOnePort: a masked socket leaves its port alone.
func (m *machine) testOnePort(t *testing.T) {
	const socket, service = "pop3d-proxy-resident.socket", "pop3d-proxy-resident.service"
	const ssl = "pop3d-proxy-resident-ssl.socket"
	m.run(t, "systemctl", "stop", socket, ssl, service)
	m.run(t, "systemctl", "mask", "--runtime", socket)
	m.run(t, "systemctl", "start", service)
	m.visit(t, "995", "ann@example.com").leave(t)
	if conn, err := net.Dial("tcp", inside+":110"); err == nil {
		conn.Close()
		t.Error("somebody listens on port 110")
	}
	m.run(t, "systemctl", "stop", ssl, service)
	m.run(t, "systemctl", "unmask", "--runtime", socket)
	m.run(t, "systemctl", "start", service)
	m.visit(t, "110", "ann@example.com").leave(t)
}

// testBack: to a process for each connection, and again to resident, under load, on a machine where the
// kernel passes on connections that are queued for a socket that is closed. Logins that are under way in a
// resident program that is stopped are told to come back.
func (m *machine) testBack(t *testing.T) {
	migrate := slices.Concat(m.enter[:3], []string{"-n", "sysctl", "-qw", "net.ipv4.tcp_migrate_req=1"})
	harness.Run(t, "", migrate[0], migrate[1:]...)
	var visits []*visit
	for port := range fronts {
		visits = append(visits, m.visit(t, port, "ann@example.com"), m.visit(t, port, "joe"))
	}
	c := m.load(t)
	c.more(t, 50)
	m.do(t, "And back")
	c.more(t, 200)
	for unit := range residents {
		m.running(t, unit, 0)
	}
	m.wantCost(t, c, visits, switchCost, crowdSize)
	again := m.load(t)
	again.more(t, 50)
	m.do(t, "From one way to the other")
	again.more(t, 200)
	m.wantCost(t, again, visits, switchCost, 0)
	for _, v := range visits {
		v.leave(t)
	}
}

// testResidentJournal: lines have the level, the facility and the name that they should, and systemd has
// nothing to complain of.
func (m *machine) testResidentJournal(t *testing.T) {
	m.run(t, "journalctl", "--sync")
	// Of before testResidentSessions has set it, and of testResidentReload.
	expected := regexp.MustCompile(`PROXY_LOCAL|exec format error`)
	for name, protocol := range map[string]string{"imapd": "IMAP", "pop3d": "POP3"} {
		unit := name + "-proxy-resident.service"
		line := regexp.MustCompile(`^LOGIN, user=ann@example\.com, ip=\[::ffff:192\.0\.2\.1\], port=\[\d+\], ` +
			`protocol=` + protocol + `(, (starttls|stls)=1)?$`)
		m.waitJournal(t, name+": "+line.String(), func(e entry) bool {
			return e.Priority == "6" && e.Facility == "2" && e.Identifier == name && line.MatchString(e.Message)
		}, "-u", unit)
		for _, e := range m.journal(t, "-u", unit, "-t", name, "-p", "err") {
			if !expected.MatchString(e.Message) {
				t.Errorf("%s: %s", name, e.Message)
			}
		}
	}
	killed := regexp.MustCompile(
		`resident\.service: (Main process exited, code=killed, status=9/KILL|Failed with result 'signal')|` +
			// A daemon-reload while a process of one connection is there whose client has gone.
			`\.socket: getpeername failed: Transport endpoint is not connected|` +
			// testBack: systemd counts a connection until it has seen the end of its process, and the client may be
			// back before. wantCost has counted the connections that are dropped.
			`\.socket: Too many incoming connections \(\d+\) from source`)
	for _, e := range m.journal(t, "-p", "warning", "_PID=1") {
		if !killed.MatchString(e.Message) {
			t.Errorf("systemd: %s", e.Message)
		}
	}
	if failed := m.run(t, "systemctl", "--failed", "--no-legend", "--plain"); failed != "" {
		t.Errorf("failed:\n%s", failed)
	}
}

// testResidentPackage upgrades and removes the Debian package.
func (m *machine) testResidentPackage(t *testing.T) {
	next := m.copyIn(t, nextVersion(t, builtPackage(t, "deb")))
	var visits []*visit
	for port := range fronts {
		visits = append(visits, m.visit(t, port, "ann@example.com"), m.visit(t, port, "joe"))
	}
	before := map[string]string{}
	for unit := range residents {
		before[unit] = m.mainPID(t, unit)
	}
	c := m.load(t)
	c.more(t, 20)
	m.dpkg(t, "-i", next)
	for unit, pid := range before {
		if !harness.Eventually(func() bool { return m.property(t, unit, "MainPID") != pid }) {
			t.Errorf("%s is still the process of before the upgrade", unit)
		}
	}
	c.more(t, 100)
	m.wantCost(t, c, visits, 0, 0)
	for _, v := range visits {
		v.leave(t)
	}
	m.gone(t, "imapd-proxy-local")
	m.dpkg(t, "-r", "mailproxy")
	m.wantStopped(t)
	m.dpkg(t, "-P", "mailproxy")
	m.wantGone(t)
}

// testMetrics: Prometheus is answered by TCP as docs/operating.md says, by units that stay as confined as
// they are, and after a reload too.
func (m *machine) testMetrics(t *testing.T) {
	m.run(t, "sh", "-e", "-c", recipes(t, "docs/operating.md")["Sockets for Prometheus"])
	defer m.run(t, "sh", "-e", "-c", "cd /etc/systemd/system; systemctl stop *-metrics.socket\n"+
		"rm *-metrics.socket *.service.d/metrics.conf; systemctl daemon-reload")
	for port, metric := range map[string]string{"9143": "authdaemond_module_up",
		"9144": "mailproxy_relayd_sessions",
		"9145": "mailproxy_connections", "9146": "mailproxy_connections"} {
		text := m.run(t, "curl", "-sS", "http://127.0.0.1:"+port+"/metrics")
		for _, name := range []string{metric, "process_open_fds", "process_max_fds"} {
			if !strings.Contains(text, "\n"+name) {
				t.Errorf("port %s: no %s in\n%s", port, name, text)
			}
		}
	}
	m.run(t, "systemctl", "reload", "mailproxy-relayd", "imapd-proxy-resident")
	for _, port := range []string{"9144", "9145"} {
		if text := m.run(t, "curl", "-sS", "http://127.0.0.1:"+port+"/metrics"); !strings.Contains(text,
			"\nmailproxy_last_reload_successful 1\n") {
			t.Errorf("port %s after a reload:\n%s", port, text)
		}
	}
}
