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
	"testing"
	"time"

	"mailproxy/tests/harness"
	"mailproxy/tests/transcript"
)

var anybody = &tls.Config{InsecureSkipVerify: true}

// accountHere makes an account whose local server is the shell script, or Courier's where that is empty.
func accountHere(t *testing.T, p *pki, script string) (server string) {
	t.Helper()
	harness.Userdb(
		t,
		harness.Account{Name: "here", Password: "pw", Home: harness.NewHome(t, harness.Message("one"))},
	)
	harness.CourierAuthdaemond(t, "authuserdb", nil)
	if script == "" {
		return harness.CourierIMAPD
	}
	server = filepath.Join(p.Dir, "local-server")
	harness.WriteFile(t, server, "#!/bin/sh\n"+script+"\n", 0o755)
	return server
}

// What a client sends after its last handshake message, in the same packet, is not lost, and is all
// answered.
func TestPipelinedBehindHandshake(t *testing.T) { ways(t, testPipelinedBehindHandshake) }

func testPipelinedBehindHandshake(t *testing.T, p *pki) {
	startAccounts(t, p, dovecotAddr)
	f := startFront(t, p, "127.0.1.1", p.env(nil))
	for _, c := range []struct{ port, script, commands, want string }{
		{"993", "", "a LOGIN there pw+there\r\nb SELECT INBOX\r\nc LOGOUT\r\n", "* 1 EXISTS"},
		{"143", imapUpgrade, "a LOGIN here \"pw here\"\r\nb SELECT INBOX\r\nc LOGOUT\r\n", "* 2 EXISTS"},
		{"995", "", "USER there\r\nPASS pw+there\r\nSTAT\r\nQUIT\r\n", "+OK 1 "},
		{"110", pop3Upgrade, "USER here\r\nPASS pw here\r\nSTAT\r\nQUIT\r\n", "+OK 2 "},
	} {
		raw := dialTCP(t, net.JoinHostPort(f.Addr, c.port))
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

// STARTTLS and the TLS ports under every launcher: with two pipes, with standard error as the connection, and
// with a socket that systemd passes. The local server's environment tells what has been handed on.
func TestLaunchers(t *testing.T) {
	t.Run("alone", func(t *testing.T) { testLaunchers(t, newPKI(t, harness.PerConnection())) })
	t.Run("relayd", func(t *testing.T) { testLaunchers(t, newPKI(t, harness.WithRelayd(harness.Relayd(t)))) })
}

func testLaunchers(t *testing.T, p *pki) {
	syslog := harness.Syslog(t)
	server := accountHere(t, p, "printf '%s OK here\\r\\n' \"$IMAPLOGINTAG\"\nenv\necho end")
	program := []string{harness.PlainBin(t, "imapd-proxy"), server, "Maildir"}
	plain := p.env(harness.Env{"LISTEN_FDNAMES": "connection", "IMAP_PROXY": "1"})
	if p.mode.Relayd != nil {
		plain["RELAY_SOCKET"] = p.mode.Relayd.Socket
	}
	delete(plain, "TLS_CACHEFILE")
	encrypted := harness.OverTLS(plain)
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
		for _, never := range []string{"LISTEN_"} {
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

	// Pipes: relayd can do nothing with them.
	cmd := exec.Command(harness.PlainBin(t, "imapd-proxy"), server, "Maildir")
	cmd.Env = []string{"PATH=/usr/bin:/bin", "TCPREMOTEIP=192.0.2.7", "TCPREMOTEPORT=7", "TCPLOCALPORT=143",
		"GORACE=" + os.Getenv("GORACE")}
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
	a.SetDeadline(time.Now().Add(time.Minute))
	return a
}
