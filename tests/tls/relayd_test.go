package tls

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"mailproxy/tests/harness"
	"mailproxy/tests/testcert"
	"mailproxy/tests/testprocess"
	"mailproxy/tests/transcript"
)

// What happens to relayd is noticed by nobody who has not logged in, whichever side is encrypted.

// A restart of relayd is noticed by no client, before the login or after it.
func TestRelaydRestarted(t *testing.T) {
	p := newPKI(t, harness.WithRelayd(harness.Relayd(t)))
	hosts(t)
	startAccounts(t, p, dovecotName)
	f := startFront(t, p, "127.0.1.1",
		p.env(harness.Env{"PROXY_TLS": "STARTTLS", "PROXY_TLS_TRUSTCERTS": p.Trust}))
	clear := dialTCP(t, f.At("IMAP"))
	(&transcript.Runner{Conn: clear}).MustPlay(t, "S* \\* OK .*")
	begun, _ := dialTLS(t, f.At("IMAPS"), anybody)
	begun.MustPlay(t, "S* \\* OK .*")
	in, _ := dialTLS(t, f.At("IMAPS"), anybody)
	in.MustPlay(t, "S* \\* OK .*\nC: a LOGIN there pw+there\nS* a OK .*")
	if !harness.Eventually(func() bool { return p.mode.Relayd.Metric(t, "relayd_sessions_taken_total") == 1 }) {
		t.Fatal("relayd does not take the session")
	}
	p.mode.Relayd.Cmd.Process.Signal(syscall.SIGHUP)
	p.mode.Relayd.Log.Wait(t, "1 sessions passed on")
	mailbox := "C: b SELECT INBOX\nS* \\* 1 EXISTS\nS* b OK .*"
	in.MustPlay(t, mailbox)
	begun.MustPlay(t, "C: a LOGIN there pw+there\nS* a OK .*\n"+mailbox)
	r, _ := upgrade(t, clear, "C: t STARTTLS\nS* t OK .*", anybody)
	r.MustPlay(t, "C: a LOGIN there pw+there\nS* a OK .*\n"+mailbox)
	harness.NoneLeft(t, "imapd-proxy")
	for _, r := range []*transcript.Runner{in, begun, r} {
		r.MustPlay(t, "C: c LOGOUT\nS* c OK .*\nS-")
		r.Conn.Close()
	}
	for _, log := range []*harness.Log{f.Log("IMAP"), f.Log("IMAPS")} {
		if warned := log.Find("^(WARN|ERR|CRIT):"); len(warned) > 0 {
			t.Errorf("%q", warned)
		}
	}
}

// A session that a limit of relayd's refuses is told so, over TLS and in clear text, and the dialogue goes
// on: the client may log in again later, or log out.
func TestRelaydLimit(t *testing.T) {
	p := newPKI(t, harness.WithRelayd(harness.Relayd(t, "-maxperuser", "1")))
	startAccounts(t, p, dovecotAddr)
	f := startFront(t, p, "127.0.1.1", p.env(nil))
	in, _ := dialTLS(t, f.At("IMAPS"), anybody)
	in.MustPlay(t, "S* \\* OK .*\nC: a LOGIN there pw+there\nS* a OK .*")
	var others []*transcript.Runner
	for _, cfg := range []*tls.Config{anybody, {InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12}} {
		r, _ := dialTLS(t, f.At("IMAPS"), cfg)
		r.MustPlay(t, `
			S* \* OK .*
			C: a LOGIN there pw+there
			S~ a NO \[UNAVAILABLE\] .*
			C: b NOOP
			S: b OK NOOP completed
			C: c LOGIN there pw+there
			S~ c NO \[UNAVAILABLE\] .*`)
		others = append(others, r)
	}
	pop, _ := dialTLS(t, f.At("POP3S"), anybody)
	pop.MustPlay(t,
		"S* \\+OK .*\nC: USER there\nS* \\+OK .*\nC: PASS pw+there\nS~ -ERR .*\nC: QUIT\nS~ \\+OK .*\nS-")
	f.Log("IMAPS").WaitN(t, 4, "WARN: too many sessions: .*, user=there, ip=")
	in.MustPlay(t, "C: b LOGOUT\nS* b OK .*\nS-")
	in.Conn.Close()
	for _, r := range others {
		if !harness.Eventually(func() bool { return p.mode.Relayd.Metric(t, "relayd_sessions_reserved") == 0 }) {
			t.Fatal("the session does not end")
		}
		r.MustPlay(t, `
			C: d LOGIN there pw+there
			S* d OK .*
			C: e SELECT INBOX
			S* \* 1 EXISTS
			S* e OK .*
			C: f LOGOUT
			S* f OK .*
			S-`)
		r.Conn.Close()
	}
	harness.NoneLeft(t, "imapd-proxy")
}

// kill ends relayd as a crash would: the file of its socket stays.
func kill(t *testing.T, relayd *harness.Service) {
	t.Helper()
	relayd.Cmd.Process.Kill()
	if !harness.Eventually(relayd.Ended) {
		t.Fatal("relayd does not end")
	}
}

// stop has a process stand still.
func stop(t *testing.T, p *os.Process) {
	t.Helper()
	if err := p.Signal(syscall.SIGSTOP); err != nil {
		t.Error(err)
	}
	if !harness.Eventually(func() bool { return testprocess.Stopped(p.Pid) }) {
		t.Error("the process does not stop")
	}
}

// relayd is killed. Whose session it has is cut off; everybody else is served, by the front end's own
// process.
func TestRelaydKilled(t *testing.T) {
	p := newPKI(t, harness.PerConnection())
	names["127.0.7.1"] = "bulk.example"
	hosts(t)
	harness.Userdb(t, harness.Account{Name: "there", Password: "pw", Options: "mailhost=bulk.example"})
	harness.CourierAuthdaemond(t, "authuserdb", nil)
	pair := p.CA.Issue(t, testcert.Spec{Name: "bulk.example"})
	// The mailhost, which speaks TLS, can do harm when it is asked for the login.
	var harm atomic.Value
	harness.NewFakeMailhost(t, "127.0.7.1:993", func(raw net.Conn) error {
		c := tls.Server(raw,
			&tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{pair.DER}, PrivateKey: pair.Key}}})
		fmt.Fprintf(c, "* OK [CAPABILITY IMAP4rev1]\r\n")
		if _, err := readLine(c); err != nil {
			return nil
		}
		if do, ok := harm.Load().(func()); ok && do != nil {
			do()
		}
		fmt.Fprintf(c, "a OK in\r\n")
		for {
			line, err := readLine(c)
			if err != nil {
				return nil
			}
			fmt.Fprintf(c, "%s OK done\r\n", strings.Fields(line)[0])
		}
	})
	const loggedIn = "C: a LOGIN there pw\nS* a OK .*\nC: b NOOP\nS: b OK done"
	for i, c := range []struct {
		name string
		play func(t *testing.T, f *harness.Proxy)
	}{
		{"before STARTTLS", func(t *testing.T, f *harness.Proxy) {
			raw := dialTCP(t, f.At("IMAP"))
			(&transcript.Runner{Conn: raw}).MustPlay(t, imapUpgrade[:strings.Index(imapUpgrade, "\n")])
			kill(t, p.mode.Relayd)
			r, _ := upgrade(t, raw, "C: t STARTTLS\nS* t OK .*", anybody)
			r.MustPlay(t, loggedIn)
			r.Conn.Close()
		}},
		{"before the login", func(t *testing.T, f *harness.Proxy) {
			r, _ := dialTLS(t, f.At("IMAPS"), anybody)
			r.MustPlay(t, "S* \\* OK .*")
			kill(t, p.mode.Relayd)
			r.MustPlay(t, loggedIn)
			r.Conn.Close()
		}},
		{"during the login", func(t *testing.T, f *harness.Proxy) {
			harm.Store(func() { kill(t, p.mode.Relayd) })
			r, _ := dialTLS(t, f.At("IMAPS"), anybody)
			r.MustPlay(t, "S* \\* OK .*\n"+loggedIn)
			r.Conn.Close()
		}},
		{"during the login, client in clear text", func(t *testing.T, f *harness.Proxy) {
			harm.Store(func() { kill(t, p.mode.Relayd) })
			harness.Dialogue(t, f.At("IMAP"), "S* \\* OK .*\n"+loggedIn).Conn.Close()
		}},
		{"stands still during the login", func(t *testing.T, f *harness.Proxy) {
			harm.Store(func() { stop(t, p.mode.Relayd.Cmd.Process) })
			r, _ := dialTLS(t, f.At("IMAPS"), anybody)
			r.MustPlay(t, "S* \\* OK .*\n"+loggedIn) // once the front end has lost its patience
			kill(t, p.mode.Relayd)
			r.MustPlay(t, "C: c NOOP\nS: c OK done")
			r.Conn.Close()
		}},
		{"after the login", func(t *testing.T, f *harness.Proxy) {
			r, _ := dialTLS(t, f.At("IMAPS"), anybody)
			r.MustPlay(t, "S* \\* OK .*\n"+loggedIn)
			harness.NoneLeft(t, "imapd-proxy")
			kill(t, p.mode.Relayd)
			r.Conn.SetDeadline(time.Now().Add(30 * time.Second))
			if got, err := io.ReadAll(r.Buffered()); len(got) > 0 || os.IsTimeout(err) {
				t.Errorf("the client reads %q, %v", got, err)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			harm.Store((func())(nil))
			p.mode = harness.WithRelayd(harness.Relayd(t))
			f := startFront(t, p, fmt.Sprintf("127.0.3.%d", i+1),
				p.env(harness.Env{"PROXY_TLS": "YES", "PROXY_TLS_TRUSTCERTS": p.Trust}))
			c.play(t, f)
			harm.Store((func())(nil))
			r, _ := upgrade(t, dialTCP(t, f.At("IMAP")), imapUpgrade, anybody)
			r.MustPlay(t, loggedIn)
			r.Conn.Close()
			harness.NoneLeft(t, "imapd-proxy")
		})
	}
}
