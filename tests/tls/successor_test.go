package tls

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"mailproxy/internal/tlsconf/testcert"
	"mailproxy/tests/harness"
	"mailproxy/tests/transcript"
)

// How imapd-proxy and pop3d-proxy, which have no TLS, come to theirs: by relayd, by becoming another program, or not at all.

var anybody = &tls.Config{InsecureSkipVerify: true}

// accountHere makes an account whose local server is the shell script, or Courier's where that is empty.
func accountHere(t *testing.T, p *pki, script string) (server string) {
	t.Helper()
	harness.Userdb(t, harness.Account{Name: "here", Password: "pw", Home: harness.NewHome(t, harness.Message("one"))})
	harness.CourierAuthdaemond(t, "authuserdb", nil)
	if script == "" {
		return harness.CourierIMAPD
	}
	os.Chmod(p.dir, 0o755)
	server = filepath.Join(p.dir, "local-server")
	if err := os.WriteFile(server, []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return server
}

// Where neither relayd nor the other program is there, STARTTLS is not offered, TLS ports are closed without a word, and every
// time one line of the log names the program that is missing. Clear text works.
func TestNobodyEncrypts(t *testing.T) {
	p := newPKI(t)
	p.alone = true
	accountHere(t, p, "")
	f := startFront(t, p, "127.0.1.1", p.env(nil), false)
	r := harness.Dial(t, f.addr+":143")
	lacks(t, r, "STARTTLS")
	r.MustPlay(t, "C: a STARTTLS\nS: a NO Error in IMAP command received by server.\nC: b LOGIN here pw\nS* b OK .*\nC: c LOGOUT\nS* c OK .*")
	harness.Dialogue(t, f.addr+":110", "S* \\+OK .*\nC: STLS\nS: -ERR TLS support not available.\nC: USER here\nS* \\+OK .*\nC: PASS pw\nS* \\+OK .*\nC: QUIT\nS* \\+OK .*")
	for _, port := range []string{"993", "995"} {
		raw := dialTCP(t, f.addr+":"+port)
		if rest, err := io.ReadAll(raw); len(rest) > 0 || err != nil {
			t.Errorf("port %s: %q %v", port, rest, err)
		}
	}
	mailhost := harness.IMAPUnderCourier(t, "127.0.2.1", p.program(t, harness.Bin(t, "imapd-proxy")), p.env(harness.Env{"PROXY_TLS": "STARTTLS"}))
	harness.Dialogue(t, "127.0.2.1:143", "S~ \\* BYE .*\nS-")
	for _, l := range []struct {
		log  *harness.Log
		line string
	}{
		{f.imap.Log, "^ERR: STARTTLS is not offered: .*%s/imapd-proxy-tls: no such file or directory$"},
		{f.pop3.Log, "^ERR: STLS is not offered: .*%s/pop3d-proxy-tls: no such file or directory$"},
		{f.imaps.Log, "^ERR: TLS FAILED, ip=.*: .*%s/imapd-proxy-tls: no such file or directory$"},
		{f.pop3s.Log, "^ERR: TLS FAILED, ip=.*: .*%s/pop3d-proxy-tls: no such file or directory$"},
		{mailhost.Log, "^CRIT: .*%s/imapd-proxy-tls: no such file or directory$"},
	} {
		l.log.WaitN(t, 1, fmt.Sprintf(l.line, p.dir))
		if all := l.log.Find("^(WARN|ERR|CRIT): .*TLS"); len(all) != 1 {
			t.Errorf("log lines: %q", all)
		}
	}
}

// A program that is there but can not be run is found out too late: the client is cut off, at once, with one line.
func TestSuccessorFails(t *testing.T) {
	p := newPKI(t)
	p.alone = true
	for _, name := range []string{"imapd-proxy-tls", "pop3d-proxy-tls"} {
		if err := os.WriteFile(filepath.Join(p.dir, name), []byte("\x7fELF is not enough"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	f := startFront(t, p, "127.0.1.1", p.env(nil), false)
	for port, command := range map[string]string{"143": "a STARTTLS\r\n", "110": "STLS\r\n"} {
		raw := dialTCP(t, f.addr+":"+port)
		readUntil(t, raw, "\n")
		io.WriteString(raw, command)
		readUntil(t, raw, "negotiation now.\r\n")
		raw.SetDeadline(time.Now().Add(5 * time.Second))
		raw.Write(clientHello(t))
		if rest, err := io.ReadAll(raw); len(rest) > 0 || os.IsTimeout(err) {
			t.Errorf("%q %v", rest, err)
		}
	}
	for _, log := range []*harness.Log{f.imap.Log, f.pop3.Log} {
		log.WaitN(t, 1, "^ERR: TLS FAILED, ip=.*: .*-proxy-tls: exec format error$")
		if all := log.Find("^(INFO|NOTICE|WARN|ERR|CRIT):"); len(all) != 1 {
			t.Errorf("log lines: %q", all)
		}
	}
}

// The settings that say no: with RELAY_TLS=NO, and with a relayd that is told -tls no, the other program makes the handshake,
// and relayd gets the session all the same.
func TestWithoutRelaydTLS(t *testing.T) {
	p := newPKI(t)
	startAccounts(t, p, dovecotAddr)
	for i, c := range []struct {
		arg, warning string
		env          harness.Env
	}{
		{"yes", "", harness.Env{"RELAY_TLS": "NO", "PROXY_TLS": "STARTTLS", "PROXY_TLS_TRUSTCERTS": p.trust}},
		{"no", "WARN: relayd does not take the session: .*switched off", nil},
	} {
		p.relayd = harness.Relayd(t, "-tls", c.arg)
		f := startFront(t, p, fmt.Sprintf("127.0.1.%d", i+1), p.env(c.env), false)
		r, _ := upgrade(t, dialTCP(t, f.addr+":143"), imapUpgrade, anybody)
		r.MustPlay(t, "C: a LOGIN there pw+there\nS* a OK .*\nC: b SELECT INBOX\nS* \\* 1 EXISTS\nS* b OK .*")
		harness.NoneLeft(t, "imapd-proxy")
		r.MustPlay(t, "C: c LOGOUT\nS* c OK .*")
		r.Conn.Close()
		p.relayd.Log.Wait(t, "INFO: LOGOUT, user=there, .*, sent=[0-9]+, time=")
		for _, result := range []string{"ok", "failed"} {
			if n := p.metric(t, `tls_handshakes_total{result="`+result+`"}`); n != 0 {
				t.Errorf("%d handshakes by relayd", n)
			}
		}
		if c.warning != "" {
			f.imap.Log.WaitN(t, 1, c.warning)
		}
		if warned := f.imap.Log.Find("^(WARN|ERR|CRIT):"); len(warned) > 0 && c.warning == "" || len(warned) > 1 {
			t.Errorf("%q", warned)
		}
	}
}

// A relayd that has no room for another login leaves the handshake to the other program; who is in already is not disturbed.
func TestRelaydFull(t *testing.T) {
	p := newPKI(t)
	startAccounts(t, p, dovecotAddr)
	p.relayd = harness.Relayd(t, "-maxlogins", "1")
	f := startFront(t, p, "127.0.1.1", p.env(nil), false)
	first, _ := dialTLS(t, f.addr+":993", anybody)
	first.MustPlay(t, "S* \\* OK .*")
	for _, r := range []*transcript.Runner{first, nil} {
		if r == nil {
			r, _ = dialTLS(t, f.addr+":993", anybody) // there is room again
			r.MustPlay(t, "S* \\* OK .*")
		} else {
			second, _ := dialTLS(t, f.addr+":993", anybody)
			second.MustPlay(t, "S* \\* OK .*\nC: a LOGIN there pw+there\nS* a OK .*\nC: b SELECT INBOX\nS* \\* 1 EXISTS\nS* b OK .*")
			f.imaps.Log.WaitN(t, 1, "WARN: relayd does not take the session: .*too many connections are logging in")
		}
		r.MustPlay(t, "C: a LOGIN there pw+there\nS* a OK .*\nC: b SELECT INBOX\nS* \\* 1 EXISTS\nS* b OK .*")
	}
	harness.NoneLeft(t, "imapd-proxy")
	if ok, unable := p.metric(t, `tls_handshakes_total{result="ok"}`), p.metric(t, `tls_handshakes_total{result="unable"}`); ok != 2 || unable != 1 {
		t.Errorf("%d handshakes, %d refused", ok, unable)
	}
	if warned := f.imaps.Log.Find("^(WARN|ERR|CRIT):"); len(warned) != 1 {
		t.Errorf("%q", warned)
	}
}

// A restart of relayd is noticed by nobody, whether he has begun TLS, logged in, or not begun.
func TestRelaydRestarted(t *testing.T) {
	p := newPKI(t)
	hosts(t)
	startAccounts(t, p, dovecotName)
	p.relayd, p.alone = harness.Relayd(t), true
	f := startFront(t, p, "127.0.1.1", p.env(harness.Env{"PROXY_TLS": "STARTTLS", "PROXY_TLS_TRUSTCERTS": p.trust}), false)
	clear := dialTCP(t, f.addr+":143")
	(&transcript.Runner{Conn: clear}).MustPlay(t, "S* \\* OK .*")
	begun, _ := dialTLS(t, f.addr+":993", anybody)
	begun.MustPlay(t, "S* \\* OK .*")
	in, _ := dialTLS(t, f.addr+":993", anybody)
	in.MustPlay(t, "S* \\* OK .*\nC: a LOGIN there pw+there\nS* a OK .*")
	harness.Eventually(func() bool { return p.metric(t, "relayd_sessions_taken_total") == 1 })
	p.relayd.Cmd.Process.Signal(syscall.SIGHUP)
	p.relayd.Log.Wait(t, "1 sessions passed on")
	mailbox := "C: b SELECT INBOX\nS* \\* 1 EXISTS\nS* b OK .*"
	in.MustPlay(t, mailbox)
	begun.MustPlay(t, "C: a LOGIN there pw+there\nS* a OK .*\n"+mailbox)
	r, _ := upgrade(t, clear, "C: t STARTTLS\nS* t OK .*", anybody)
	r.MustPlay(t, "C: a LOGIN there pw+there\nS* a OK .*\n"+mailbox)
	for _, r := range []*transcript.Runner{in, begun, r} {
		r.MustPlay(t, "C: c LOGOUT\nS* c OK .*\nS-")
		r.Conn.Close()
	}
	harness.NoneLeft(t, "imapd-proxy")
	// The client of which one relayd has one side and the other the other side was relayed by the front end.
	f.imaps.Log.WaitN(t, 1, "WARN: relayd does not take the session: .*another relayd encrypts one of the connections")
	f.imaps.Log.WaitN(t, 1, "INFO: LOGOUT, user=there, .*mailhost=dovecot.example, rcvd=")
	if warned := f.imaps.Log.Find("^(WARN|ERR|CRIT):"); len(warned) != 1 {
		t.Errorf("%q", warned)
	}
}

// kill ends relayd as a crash would: the file of its socket stays.
func kill(t *testing.T, relayd *harness.Service) {
	t.Helper()
	relayd.Cmd.Process.Kill()
	if !harness.Eventually(relayd.Ended) {
		t.Fatal("relayd does not end")
	}
}

// relayd is killed. Who has not begun TLS is served by the other program, and so is everybody who comes later; who has is cut
// off, at whichever step.
func TestRelaydKilled(t *testing.T) {
	p := newPKI(t)
	names["127.0.7.1"] = "bulk.example"
	hosts(t)
	harness.Userdb(t, harness.Account{Name: "there", Password: "pw", Options: "mailhost=bulk.example"}, harness.Account{Name: "here", Password: "pw", Home: harness.NewHome(t)})
	harness.CourierAuthdaemond(t, "authuserdb", nil)
	pair := p.ca.Issue(t, testcert.Spec{Name: "bulk.example"})
	// The mailhost, which speaks TLS, can do harm when it is asked for the login.
	var harm atomic.Value
	var ended atomic.Int32
	harness.NewFakeMailhost(t, "127.0.7.1:993", func(raw net.Conn) error {
		defer ended.Add(1)
		c := tls.Server(raw, &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{pair.DER}, PrivateKey: pair.Key}}})
		fmt.Fprintf(c, "* OK\r\n")
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
	cut := func(t *testing.T, what string, r *transcript.Runner) {
		t.Helper()
		r.Conn.SetDeadline(time.Now().Add(8 * time.Second))
		got, err := io.ReadAll(r.Buffered())
		if len(got) > 0 && !bytes.Contains(got, []byte("a OK")) || os.IsTimeout(err) {
			t.Errorf("%s: the client reads %q, %v", what, got, err)
		}
		harness.NoneLeft(t, "imapd-proxy")
	}
	works := func(t *testing.T, addr string) {
		t.Helper()
		r, _ := upgrade(t, dialTCP(t, addr+":143"), imapUpgrade, anybody)
		r.MustPlay(t, "C: a LOGIN there pw\nS* a OK .*\nC: b NOOP\nS: b OK done")
		r.Conn.Close()
		harness.Dialogue(t, addr+":143", "S* \\* OK .*\nC: a LOGIN there pw\nS* a OK .*\nC: b NOOP\nS: b OK done").Conn.Close() // TLS to the mailhost alone
		harness.NoneLeft(t, "imapd-proxy")
	}
	for i, c := range []struct {
		name string
		play func(t *testing.T, f *front)
	}{
		{"before STARTTLS", func(t *testing.T, f *front) {
			raw := dialTCP(t, f.addr+":143")
			(&transcript.Runner{Conn: raw}).MustPlay(t, imapUpgrade[:strings.Index(imapUpgrade, "\n")])
			kill(t, p.relayd)
			r, _ := upgrade(t, raw, "C: t STARTTLS\nS* t OK .*", anybody)
			r.MustPlay(t, "C: a NOOP\nS* a OK .*\nC: b LOGOUT\nS* b OK .*\nS-")
			r.Conn.Close()
		}},
		{"before the login", func(t *testing.T, f *front) {
			r, _ := dialTLS(t, f.addr+":993", anybody)
			r.MustPlay(t, "S* \\* OK .*")
			kill(t, p.relayd)
			cut(t, "before the login", r)
		}},
		{"during the login", func(t *testing.T, f *front) {
			harm.Store(func() { kill(t, p.relayd) })
			r, _ := dialTLS(t, f.addr+":993", anybody)
			r.MustPlay(t, "S* \\* OK .*\nC: a LOGIN there pw")
			cut(t, "during the login", r)
		}},
		{"during the login, client in clear text", func(t *testing.T, f *front) {
			harm.Store(func() { kill(t, p.relayd) })
			harness.Dialogue(t, f.addr+":143", "S* \\* OK .*\nC: a LOGIN there pw\nS~ a NO \\[UNAVAILABLE\\] .*\nC: b NOOP\nS* b OK .*\nC: c LOGOUT\nS* c OK .*\nS-").Conn.Close()
		}},
		{"stands still during the login", func(t *testing.T, f *front) {
			harm.Store(func() { p.relayd.Cmd.Process.Signal(syscall.SIGSTOP) })
			r, _ := dialTLS(t, f.addr+":993", anybody)
			r.MustPlay(t, "S* \\* OK .*\nC: a LOGIN there pw")
			time.Sleep(500 * time.Millisecond)
			kill(t, p.relayd)
			cut(t, "stands still", r)
		}},
		{"after the login", func(t *testing.T, f *front) {
			r, _ := dialTLS(t, f.addr+":993", anybody)
			r.MustPlay(t, "S* \\* OK .*\nC: a LOGIN there pw\nS* a OK .*\nC: b NOOP\nS: b OK done")
			harness.NoneLeft(t, "imapd-proxy")
			kill(t, p.relayd)
			cut(t, "after the login", r)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			harm.Store((func())(nil))
			p.relayd = harness.Relayd(t)
			f := startFront(t, p, fmt.Sprintf("127.0.3.%d", i+1), p.env(harness.Env{"PROXY_TLS": "YES", "PROXY_TLS_TRUSTCERTS": p.trust, "PROXY_LOGIN_TIMEOUT": "5"}), false)
			c.play(t, f)
			harm.Store((func())(nil))
			works(t, f.addr)
			if !harness.Eventually(func() bool { return alive(t, "relayd") == 0 }) {
				t.Error("relayd lives")
			}
		})
	}
}

func alive(t *testing.T, comm string) (n int) {
	for _, proc := range harness.Procs(t) {
		if proc.Comm == comm {
			n++
		}
	}
	return n
}

// What a client sends behind its last handshake message, in the same packet, is not lost, and is all answered.
func TestPipelinedBehindHandshake(t *testing.T) { ways(t, testPipelinedBehindHandshake) }

func testPipelinedBehindHandshake(t *testing.T, p *pki) {
	startAccounts(t, p, dovecotAddr)
	f := startFront(t, p, "127.0.1.1", p.env(nil), false)
	for _, c := range []struct{ port, script, commands, want string }{
		{"993", "", "a LOGIN there pw+there\r\nb SELECT INBOX\r\nc LOGOUT\r\n", "* 1 EXISTS"},
		{"143", imapUpgrade, "a LOGIN here \"pw here\"\r\nb SELECT INBOX\r\nc LOGOUT\r\n", "* 2 EXISTS"},
		{"995", "", "USER there\r\nPASS pw+there\r\nSTAT\r\nQUIT\r\n", "+OK 1 "},
		{"110", pop3Upgrade, "USER here\r\nPASS pw here\r\nSTAT\r\nQUIT\r\n", "+OK 2 "},
	} {
		raw := dialTCP(t, f.addr+":"+c.port)
		if c.script != "" {
			(&transcript.Runner{Conn: raw}).MustPlay(t, c.script)
		}
		held := &holding{Conn: raw}
		conn := tls.Client(held, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13})
		if err := conn.Handshake(); err != nil {
			t.Fatal(err)
		}
		io.WriteString(conn, c.commands)
		held.flush()
		got, err := io.ReadAll(conn)
		if err != nil || !strings.Contains(string(got), c.want) {
			t.Errorf("port %s: %q %v", c.port, got, err)
		}
	}
}

// holding keeps back what is written after the first time until flush.
type holding struct {
	net.Conn
	writes int
	held   []byte
	free   bool
}

func (h *holding) Write(p []byte) (int, error) {
	if h.writes++; h.writes == 1 || h.free {
		return h.Conn.Write(p)
	}
	h.held = append(h.held, p...)
	return len(p), nil
}

func (h *holding) flush() {
	h.free = true
	h.Conn.Write(h.held)
}

// STARTTLS and the TLS ports under every launcher: with two pipes, with standard error as the connection, and with a socket
// that systemd passes. The local server's environment tells what has been handed on.
func TestLaunchers(t *testing.T) { ways(t, testLaunchers) }

func testLaunchers(t *testing.T, p *pki) {
	syslog := harness.Syslog(t)
	server := accountHere(t, p, "printf '%s OK here\\r\\n' \"$IMAPLOGINTAG\"\nenv\necho end")
	program := []string{p.program(t, harness.Bin(t, "imapd-proxy")), server, "Maildir"}
	plain := p.env(harness.Env{"LISTEN_FDNAMES": "connection"})
	delete(plain, "TLS_CACHEFILE")
	encrypted := overTLS(plain)
	launchers := map[string]func(harness.Listen) *harness.Process{
		"tcpserver": func(l harness.Listen) *harness.Process { return harness.Tcpserver(t, l) },
		"tcpsvd":    func(l harness.Listen) *harness.Process { return harness.Tcpsvd(t, l) },
		"xinetd":    func(l harness.Listen) *harness.Process { return harness.Xinetd(t, l) },
		"accept":    func(l harness.Listen) *harness.Process { return harness.SystemdAccept(t, l, false) },
		"inetd":     func(l harness.Listen) *harness.Process { return harness.SystemdAccept(t, l, true) },
	}
	check := func(what string, conn *tls.Conn, r *transcript.Runner) {
		t.Helper()
		io.WriteString(conn, "a LOGIN here pw\r\n")
		text, err := io.ReadAll(r.Buffered())
		if err != nil || !strings.HasSuffix(string(text), "\nend\n") {
			t.Errorf("%s: %q %v", what, text, err)
		}
		for _, want := range []string{"IMAP_TLS=1\n", "TLS_CONNECTED_PROTOCOL=TLS1.3,", "AUTHENTICATED=here\n"} {
			if !strings.Contains(string(text), want) {
				t.Errorf("%s: no %q in\n%s", what, want, text)
			}
		}
		for _, never := range []string{"MAILPROXY_STARTTLS", "LISTEN_"} {
			if strings.Contains(string(text), "\n"+never) {
				t.Errorf("%s: %q in\n%s", what, never, text)
			}
		}
	}
	i := 0
	for name, launch := range launchers {
		i++
		addr := fmt.Sprintf("127.0.8.%d", i)
		launch(harness.Listen{Addr: addr, Port: 143, Env: plain, Program: program})
		launch(harness.Listen{Addr: addr, Port: 993, Env: encrypted, Program: program})
		r, conn := upgrade(t, dialTCP(t, addr+":143"), imapUpgrade, anybody)
		check(name+" STARTTLS", conn, r)
		r, conn = dialTLS(t, addr+":993", anybody)
		r.MustPlay(t, "S* \\* OK .*")
		check(name, conn, r)
		// What fails in TLS is not told to the client in clear text, wherever the log goes.
		raw := dialTCP(t, addr+":993")
		io.WriteString(raw, "GET / HTTP/1.0\r\n\r\n")
		if got, _ := io.ReadAll(raw); bytes.Contains(got, []byte("TLS")) {
			t.Errorf("%s: %q", name, got)
		}
	}
	syslog.Wait(t, "imapd\\[[0-9]+\\]: .*TLS FAILED, ip=") // xinetd

	// Pipes: relayd can do nothing with them, the other program can.
	cmd := exec.Command(harness.Bin(t, "imapd-proxy"), server, "Maildir")
	cmd.Env = []string{"PATH=/usr/bin:/bin", "TCPREMOTEIP=192.0.2.7", "TCPREMOTEPORT=7", "TCPLOCALPORT=143"}
	for name, value := range plain {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	r, conn := upgrade(t, pipes(t, cmd), imapUpgrade, anybody)
	check("pipes", conn, r)
}

// pipes starts a command and connects to it by two pipes.
func pipes(t *testing.T, cmd *exec.Cmd) net.Conn {
	t.Helper()
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close(); cmd.Process.Kill(); cmd.Wait() })
	a, b := net.Pipe()
	go func() { io.Copy(in, b); in.Close() }()
	go func() { io.Copy(b, out); b.Close() }()
	a.SetDeadline(time.Now().Add(30 * time.Second))
	return a
}

// Nonsense in the variable that a predecessor sets: the session does not begin, and the log says why.
func TestBadResumption(t *testing.T) {
	p := newPKI(t)
	for i, text := range []string{"", "YES", "1 2", "1 2 x", "-1 2 3"} {
		env := p.env(harness.Env{"MAILPROXY_STARTTLS": text})
		addr := fmt.Sprintf("127.0.9.%d", i+1)
		log := harness.IMAPUnderCourier(t, addr, harness.Bin(t, "imapd-proxy-tls"), env).Log
		harness.Dialogue(t, addr+":143", "S~ \\* BYE .*\nS-")
		log.WaitN(t, 1, "^CRIT: MAILPROXY_STARTTLS=.*: must be three numbers$")
	}
}
