package monitoring

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"mailproxy/authlib"
	"mailproxy/tests/harness"
)

// lasts is how long a state lasts in a run that is drawn.
const lasts = 20 * time.Second

// state is something that is wrong, and the alerts that fire for it. Where the next one may begin before they
// have, it goes on.
type state struct {
	name   string
	make   func(w *world)
	goOn   bool
	alerts []string
}

// states come one after the other, each beside those before.
var states = []state{
	{"attack", (*world).crowd, true, []string{"MailproxyPasswordsRefused", "MailproxyMailhostRefuses",
		"MailproxyLoginsSlow", "MailproxyConnectionsRefused", "MailproxySessionsRefused",
		"MailproxyAuthTurnsAway"}},
	{"certificate, descriptors", (*world).neglect, false, []string{"MailproxyCertificateEndsSoon",
		"MailproxyCertificateEnds", "MailproxyDescriptorsNearlyUsedUp"}},
	{"bad settings", (*world).spoil, true, []string{"MailproxyReloadFailed"}},
	{"mailhost stopped", func(w *world) { w.main.Stop() }, false, []string{"MailproxyMailhostDown",
		"MailproxyMailhostFails", "MailproxySessionsLost"}},
	{"relayd killed", func(w *world) { w.relayd.Signal(w.t, syscall.SIGKILL) }, false,
		[]string{"MailproxyGone", "MailproxyHandoversFail"}},
	{"database killed", func(w *world) { w.database.Kill(w.t) }, false,
		[]string{"MailproxyDatabaseDown", "MailproxyLoginsFail"}},
}

// TestAlerts: while all is well no alert fires; each fires for what it is about; and by the end each query of
// the dashboard has had data.
func TestAlerts(t *testing.T) {
	w := newWorld(t)
	w.load(2, 250*time.Millisecond, imap, "bob", password)
	w.load(2, 250*time.Millisecond, imaps, "spare", password)
	w.load(1, 150*time.Millisecond, pop3, "bob", password)
	w.load(1, 150*time.Millisecond, pop3, "spare", password)
	for range 25 {
		w.session()
	}
	p := startPrometheus(t)
	// A machine that is busy with other tests may be slow at first.
	if !inTheEnd(func() bool {
		return len(p.query(t, `count(count_over_time(up[1m]) > 5) == 4`)) > 0 && len(p.fired(t, p.now()-2)) == 0
	}) {
		t.Fatalf("while all is well: %v", p.fired(t, 0))
	}
	p.last(0)
	var begin []float64
	var wanted, waiting []string
	since := p.now()
	for i, s := range states {
		begin, waiting = append(begin, p.now()), append(waiting, s.alerts...)
		s.make(w)
		if s.goOn && !*pictures {
			continue
		}
		var fired map[string][]string
		if !inTheEnd(func() bool {
			fired = p.fired(t, since)
			return !slices.ContainsFunc(waiting, func(name string) bool { return fired[name] == nil })
		}) {
			t.Fatalf("%s: %v have fired, not all of %v", s.name, fired, waiting)
		}
		wanted, waiting, since = append(wanted, waiting...), nil, p.now()
		p.last(i + 1)
	}
	for _, job := range []string{"mailproxy-relayd", "mailproxy-imapd", "mailproxy-authdaemond"} {
		if !slices.Contains(p.fired(t, 0)["MailproxyReloadFailed"], job) {
			t.Errorf("no failed reload of %s", job)
		}
	}
	for _, rule := range p.rules(t) {
		if !slices.Contains(wanted, rule) {
			t.Errorf("no state fires %s", rule)
		}
	}
	p.dashboard(t)
	p.draw(t, begin)
}

// inTheEnd is harness.Eventually with more patience: a busy machine slows the site, Prometheus and its rules.
func inTheEnd(condition func() bool) bool {
	for range 4 {
		if harness.Eventually(condition) {
			return true
		}
	}
	return false
}

// last lets a state last until there has been time for n+1, when the run is drawn.
func (p *prometheus) last(n int) {
	if *pictures {
		<-time.After(time.Until(p.began.Add(time.Duration(n+1) * lasts)))
	}
}

// session is one of ann's that lasts.
func (w *world) session() {
	w.t.Helper()
	conn, err := imap("ann", password)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { conn.Close() })
}

// crowd brings wrong passwords, a mailhost that refuses right ones and one that is slow, and more of
// everything than there may be.
func (w *world) crowd() {
	w.load(4, 100*time.Millisecond, pop3, "bob", "wrong")
	w.load(2, 250*time.Millisecond, imap, "odd", password)
	w.load(10, 200*time.Millisecond, pop3, "slow", password)
	keep := func(conn net.Conn, err error) {
		w.t.Helper()
		if err != nil {
			w.t.Fatal(err)
		}
		w.t.Cleanup(func() { conn.Close() })
	}
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 9, 9)}}
	for range 50 {
		keep(dialer.Dial("tcp", pop3At))
	}
	for range 70 {
		keep(net.Dial("unix", authlib.PersistentSocket(w.authd.Socket)))
	}
	refused := 0
	for range 10 {
		if conn, err := imap("ann", password); err == nil {
			w.t.Cleanup(func() { conn.Close() })
		} else {
			refused++
		}
	}
	if refused == 0 {
		w.t.Error("all sessions of one user are taken")
	}
}

// neglect brings a certificate that ends tomorrow, and a process that has few file descriptors left.
func (w *world) neglect() {
	w.certificate(1)
	w.imap.Reload(w.t)
	names, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", w.pop3.Newest()))
	if err != nil {
		w.t.Fatal(err)
	}
	// As its user: root may lack the capability to limit others.
	user := harness.ResidentUser
	harness.Run(w.t, "", "setpriv", "--reuid", user, "--regid", user, "--clear-groups", "prlimit",
		"--pid", fmt.Sprint(w.pop3.Newest()), fmt.Sprintf("--nofile=%d:", len(names)+len(names)/10))
}

// spoil brings settings that no program can use, and reloads.
func (w *world) spoil() {
	harness.WriteFile(w.t, w.imap.settings, "PROXY_TLS=perhaps\n", 0o644)
	harness.WriteFile(w.t, w.options, "RELAYD_OPTIONS=-nonsense\n", 0o644)
	harness.WriteFile(w.t, filepath.Join(w.authd.Config, "authdaemonrc"),
		"authmodulelist=\"authnonsense\"\ndaemons=none\n", 0o644)
	for _, p := range []*harness.Process{w.imap.Process, w.relayd.Process, w.authd.Process} {
		p.Signal(w.t, syscall.SIGHUP)
	}
}

// dashboard asks every question of etc/grafana.
func (p *prometheus) dashboard(t *testing.T) {
	t.Helper()
	text := harness.Source(t, "etc/grafana/mailproxy.json")
	var board struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal([]byte(text), &board); err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, panel := range board.Panels {
		for _, q := range panel.Targets {
			n++
			expr := strings.NewReplacer("$__rate_interval", "5s", "$instance", ".+").Replace(q.Expr)
			if strings.Contains(expr, "$") || len(p.query(t, expr)) == 0 {
				t.Errorf("%s: no data for %s", panel.Title, expr)
			}
		}
	}
	if n < 20 {
		t.Errorf("only %d queries", n)
	}
}
