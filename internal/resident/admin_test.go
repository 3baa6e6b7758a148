package resident_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mailproxy/relay/handoff"
	"mailproxy/tests/metricstest"
	"mailproxy/tests/testlog"
)

// administered is a front end with an admin socket and metrics.
type administered struct {
	*process
	admin, metrics string
}

func startAdministered(t *testing.T, protocol string, settings ...string) administered {
	w := newWorld(t)
	dir := t.TempDir()
	a := administered{admin: filepath.Join(dir, "admin"), metrics: filepath.Join(dir, "metrics")}
	a.process = w.startWith([]string{"-admin", a.admin, "-metrics", "unix:" + a.metrics}, protocol, settings...)
	return a
}

func (a administered) ask(verb, whom string) string {
	a.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	m := &handoff.Message{Verb: verb}
	if whom != "" {
		m.Fields = map[string]string{"WHOM": whom}
	}
	var out bytes.Buffer
	if err := handoff.Ask(ctx, a.admin, nil, m, &out); err != nil {
		a.t.Fatalf("%s: %v\n%s", verb, err, a.log)
	}
	return out.String()
}

// scrape asks as Prometheus does.
func (a administered) scrape() string {
	a.t.Helper()
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", a.metrics)
	}
	client := http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true},
		Timeout: time.Minute}
	answer, err := client.Get("http://metrics/")
	if err != nil {
		a.t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		a.t.Fatal(err)
	}
	return string(text)
}

// want waits for lines in what numbers returns: a client hears of its login a moment before it is counted.
func (a administered) want(numbers func() string, lines ...string) {
	a.t.Helper()
	for _, line := range lines {
		text := ""
		if !testlog.Eventually(func() bool { text = "\n" + numbers(); return strings.Contains(text, "\n"+line) }) {
			a.t.Errorf("no %s in\n%s", line, text)
		}
	}
}

// TestAdministration: sessions and logins are seen and counted, through reloads, and can be ended.
func TestAdministration(t *testing.T) {
	for _, protocol := range []string{"imap", "pop3"} {
		t.Run(protocol, func(t *testing.T) {
			a := startAdministered(t, protocol)
			ann, bob := a.mustLogin("ann", false), a.mustLogin("bob", true)
			who := a.ask(handoff.Who, "")
			if strings.Count(who, "\n") != 2 || !strings.Contains(who, "ann\t[::ffff:127.0.0.1]:") {
				t.Errorf("who: %q", who)
			}
			metricstest.Lint(t, a.scrape())
			a.want(a.scrape, "mailproxy_sessions 2\n", "mailproxy_sessions_taken_total 2\n",
				"mailproxy_connections 0\n",
				`mailproxy_logins_total{protocol="`+protocol+`",result="ok",mailhost="127.0.0.1"} 2`,
				`mailproxy_tls_handshakes_total{version="1.3",resumed="false"} 1`,
				`mailproxy_certificate_expiry_timestamp_seconds{file="`,
				`mailproxy_connections_refused_total{limit="MAXUNAUTH"} 0`,
				`mailproxy_login_seconds_count{protocol="`+protocol+`",result="ok"} 2`)
			for range 3 {
				a.reload()
				if who := a.ask(handoff.Who, ""); strings.Count(who, "\n") != 2 {
					t.Errorf("who: %q", who)
				}
				metricstest.Lint(t, a.scrape())
				a.want(a.scrape, "mailproxy_sessions 2\n", "mailproxy_sessions_taken_total 2\n")
			}
			if n := a.ask(handoff.Kick, "bob"); n != "1\n" {
				t.Errorf("kick: %q", n)
			}
			if _, err := bob.Read(make([]byte, 1)); err == nil {
				t.Error("a session that was ended goes on")
			}
			ann.mustEcho()
			if n := a.ask(handoff.Kick, "127.0.0.1"); n != "1\n" {
				t.Errorf("kick by address: %q", n)
			}
			a.want(func() string { return a.ask(handoff.Stats, "") }, "mailproxy_sessions 0\n",
				"mailproxy_sessions_broken_total 2\n")
		})
	}
}

// TestAdministrationPumped: a session whose TLS cannot change hands is in the list of the newest process,
// which alone counts it, and can be ended there. The process that has its connection ends with it.
func TestAdministrationPumped(t *testing.T) {
	a := startAdministered(t, "imap", "TLS_CIPHER_LIST=ECDHE-ECDSA-AES128-SHA", "MAXSESSIONSPERUSER=1")
	ann, err := a.loginWith("ann", cbc)
	if err != nil {
		t.Fatal(err)
	}
	defer ann.Close()
	for range 3 {
		ann.mustEcho()
		if who := a.ask(handoff.Who, ""); strings.Count(who, "ann\t") != 1 {
			t.Errorf("who: %q", who)
		}
		if c, err := a.loginWith("ann", cbc); err == nil {
			t.Error("MAXSESSIONSPERUSER does not hold")
			c.Close()
		}
		a.reload()
	}
	a.want(a.scrape, "mailproxy_sessions 1\n", "mailproxy_sessions_taken_total 1\n")
	if n := a.ask(handoff.Kick, "ann"); n != "1\n" {
		t.Errorf("kick: %q", n)
	}
	if rest, _ := io.ReadAll(ann.r); len(rest) > 0 {
		t.Errorf("the client reads %q", rest)
	}
	<-a.exited // of the first process
}

// TestAdminSocketInUse: clients matter more than administrators: a socket that cannot be made is a line.
func TestAdminSocketInUse(t *testing.T) {
	w := newWorld(t)
	dir := t.TempDir()
	path := filepath.Join(dir, "admin")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	p := w.startWith([]string{"-admin", path}, "imap")
	p.mustLogin("ann", false).mustEcho()
	p.until("a line", func() bool { return strings.Contains(p.log.String(), "ERR: no admin socket: ") })
}
