package tls

import (
	"bufio"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"hash"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mailproxy/tests/harness"
	"mailproxy/tests/testcert"
)

// volume is how much goes each way.
var volume = harness.Volume(64<<20, 1<<30)

// bulkWorld has an account on a fake TLS mailhost that runs work after the login, and one here, whose local
// server is a shell script. (Courier's imapd wants its standard input non-blocking, the shell does not.)
func bulkWorld(t *testing.T, p *pki, work func(net.Conn) error, local string) *harness.Proxy {
	t.Helper()
	names["127.0.7.1"] = "bulk.example"
	hosts(t)
	harness.Userdb(t, harness.Account{Name: "there", Password: "pw", Options: "mailhost=bulk.example"},
		harness.Account{Name: "here", Password: "pw", Home: harness.NewHome(t)})
	harness.CourierAuthdaemond(t, "authuserdb", nil)
	pair := p.CA.Issue(t, testcert.Spec{Name: "bulk.example"})
	harness.NewFakeMailhost(t, "127.0.7.1:993", func(raw net.Conn) error {
		c := tls.Server(&eofConn{Conn: raw},
			&tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{pair.DER}, PrivateKey: pair.Key}}})
		fmt.Fprintf(c, "* OK [CAPABILITY IMAP4rev1]\r\n")
		if _, err := readLine(c); err != nil {
			return err
		}
		fmt.Fprintf(c, "a OK in\r\n")
		return work(c)
	})
	server := filepath.Join(p.Dir, "local-server")
	harness.WriteFile(t, server, "#!/bin/sh\npython3 -c 'import os; os.set_blocking(0, True)'\n"+
		"printf '%s OK here\\r\\n' \"$IMAPLOGINTAG\"\n"+local+"\n", 0o755)
	return p.mode.Start(t, harness.ProxyOptions{Addr: "127.0.1.1", Protocols: []string{"IMAP"}, TLS: true,
		LocalServer: server, Shipped: true, Env: p.env(harness.Env{"PROXY_TLS": "YES",
			"PROXY_TLS_TRUSTCERTS": p.Trust})})
}

func readLine(c net.Conn) (string, error) {
	var line strings.Builder
	b := make([]byte, 1)
	for !strings.HasSuffix(line.String(), "\n") {
		if _, err := io.ReadFull(c, b); err != nil {
			return line.String(), err
		}
		line.Write(b)
	}
	return line.String(), nil
}

func login(t *testing.T, user string) (*tls.Conn, *net.TCPConn) {
	t.Helper()
	raw := dialTCP(t, "127.0.1.1:993")
	c := tls.Client(&eofConn{Conn: raw},
		&tls.Config{InsecureSkipVerify: true, DynamicRecordSizingDisabled: true})
	for _, say := range []string{"", "a LOGIN " + user + " pw\r\n"} {
		io.WriteString(c, say)
		if line, err := readLine(c); err != nil || !strings.Contains(line, "OK") {
			t.Fatalf("%q: %q %v", say, line, err)
		}
	}
	return c, raw
}

// eofConn notes that the stream below TLS has ended; crypto/tls alone does not tell a cut between two records
// from an end.
type eofConn struct {
	net.Conn
	ended bool
}

func (c *eofConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.ended = c.ended || err == io.EOF
	return n, err
}

// readEnd reads to the end, which without close_notify is an error.
func readEnd(c net.Conn) ([]byte, error) {
	text, err := io.ReadAll(c)
	if err == nil && c.(*tls.Conn).NetConn().(*eofConn).ended {
		err = io.ErrUnexpectedEOF
	}
	return text, err
}

// stream writes n bytes that only the seed knows, and returns their hash.
func stream(w io.Writer, n int64, seed uint64) (sum []byte, err error) {
	h := sha256.New()
	block := make([]byte, 1<<20)
	src := rand.NewChaCha8([32]byte{byte(seed)})
	src.Read(block)
	for left := n; left > 0 && err == nil; left -= int64(len(block)) {
		block = block[:min(int64(len(block)), left)]
		block[0]++
		h.Write(block)
		_, err = w.Write(block)
	}
	return h.Sum(nil), err
}

func sumOf(h hash.Hash, r io.Reader) ([]byte, int64, error) {
	n, err := io.CopyBuffer(h, struct{ io.Reader }{r}, make([]byte, 256<<10))
	return h.Sum(nil), n, err
}

// bothWays sends the volume and a half-close while it reads to the end. up and received are the hashes of
// what was sent and of the n bytes read.
func bothWays(t *testing.T, c *tls.Conn) (up, received []byte, n int64, err error) {
	t.Helper()
	c.SetDeadline(time.Now().Add(10 * time.Minute))
	sent := make(chan []byte, 1)
	go func() {
		sum, err := stream(c, volume, 1)
		if err == nil {
			err = c.CloseWrite()
		}
		if err != nil {
			t.Error(err)
		}
		sent <- sum
	}()
	received, n, err = sumOf(sha256.New(), c)
	return <-sent, received, n, err
}

// Much data each way at once through TLS on both sides, then half-closes, the mailhost last: the checksums
// are equal.
func TestVolumeRelay(t *testing.T) { ways(t, testBulkRelay) }

func testBulkRelay(t *testing.T, p *pki) {
	type got struct {
		sent, received []byte
		n              int64
		err            error
	}
	results := make(chan got, 1)
	front := bulkWorld(t, p, func(c net.Conn) error {
		var g got
		done := make(chan error, 1)
		go func() {
			var err error
			g.sent, err = stream(c, volume, 2)
			done <- err
		}()
		g.received, g.n, g.err = sumOf(sha256.New(), c)
		g.err = errors.Join(g.err, <-done, c.(*tls.Conn).CloseWrite()) // which ends the session
		results <- g
		return g.err
	}, "exit 0")
	c, _ := login(t, "there")
	up, received, n, err := bothWays(t, c)
	g := <-results
	if err != nil || n != volume || string(received) != string(g.sent) {
		t.Errorf("from the mailhost: %d bytes, %x, want %x, %v", n, received, g.sent, err)
	}
	if g.err != nil || g.n != volume || string(g.received) != string(up) {
		t.Errorf("to the mailhost: %d bytes, %x, want %x, %v", g.n, g.received, up, g.err)
	}
	front.Ends("IMAPS").Wait(t, fmt.Sprintf("INFO: LOGOUT, user=there, .*rcvd=%d, sent=%d", volume, volume))
	front.Broken(t, "IMAPS", 0, "TLS stream cut off")
}

// The same through the TLS pump to a local server, which sends everything back.
func TestVolumeLocal(t *testing.T) { ways(t, testBulkLocal) }

func testBulkLocal(t *testing.T, p *pki) {
	front := bulkWorld(t, p, nil, "exec cat")
	c, _ := login(t, "here")
	up, received, n, err := bothWays(t, c)
	if err != nil || n != volume || string(received) != string(up) {
		t.Errorf("%d bytes came back, %x, want %x, %v", n, received, up, err)
	}
	front.Idle(t)
	harness.NoneLeft(t, "cat")
	front.Broken(t, "IMAPS", 0, "TLS stream cut off")
}

// The local server learns what couriertls would tell it, runs as the account, and the TLS process is nobody
// of importance.
func TestLocalEnvironment(t *testing.T) { ways(t, testLocalEnvironment) }

func testLocalEnvironment(t *testing.T, p *pki) {
	front := bulkWorld(t, p, nil,
		"env; id -u; grep -h -e Uid -e Name /proc/$PPID/status; echo; ls -l /proc/self/fd | wc -l; read line")
	c, _ := login(t, "here")
	var text string
	in := bufio.NewReader(c)
	for !strings.HasSuffix(text, "\n\n") {
		line, err := in.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		text += line
	}
	for _, want := range []string{"IMAP_TLS=1\n", "IMAP_STARTTLS=NO\n", "IMAP_TLS_REQUIRED=0\n",
		"TLS_CONNECTED_PROTOCOL=TLS1.3,", "AUTHENTICATED=here\n",
		"TLS_CERTFILE=" + p.cert + "\n", fmt.Sprintf("\n%d\n", harness.MailID)} {
		if !strings.Contains("\n"+text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	for _, never := range []string{"MAILPROXY_", "HOME=/root"} {
		if strings.Contains("\n"+text, "\n"+never) {
			t.Errorf("%q in\n%s", never, text)
		}
	}
	if p.mode.Relayd != nil {
		front.Idle(t) // relayd has the session
		return
	}
	if p.mode.Launched() && strings.Contains(text, "Uid:\t0") { // else its parent is couriertcpd
		t.Errorf("the TLS process is still root:\n%s", text)
	}
	encrypting := 0
	for _, process := range harness.Procs(t, "imapd-proxy") {
		encrypting++
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", process.PID))
		if err != nil || !strings.Contains(string(status), "\nUid:\t") ||
			strings.Contains(string(status), "\nUid:\t0") {
			t.Errorf("%v is still root, %v", process.Args, err)
		}
	}
	if encrypting != 1 {
		t.Errorf("%d processes have TLS, want 1", encrypting)
	}
}

// Half-close towards the client, and streams that are cut instead of ended, from both sides.
func TestEndOfStream(t *testing.T) { ways(t, testEndOfStream) }

func testEndOfStream(t *testing.T, p *pki) {
	heard, ended := make(chan bool, 3), make(chan error, 1)
	front := bulkWorld(t, p, func(c net.Conn) error {
		line, err := readLine(c)
		heard <- true
		switch {
		case err != nil:
		case strings.Contains(line, "half"): // we end first, which ends the session
			c.(*tls.Conn).CloseWrite()
			_, err = readEnd(c)
		case strings.Contains(line, "cut"):
			c.(*tls.Conn).NetConn().Close()
		default:
			_, err = readEnd(c)
		}
		ended <- err
		return nil
	}, "read a; echo got $a; read b; echo then $b")

	c, _ := login(t, "there")
	io.WriteString(c, "half\r\n")
	if rest, err := readEnd(c); err != nil || len(rest) != 0 {
		t.Errorf("half-close of the mailhost: %q %v", rest, err)
	}
	if err := <-ended; err != nil {
		t.Errorf("half-close: the mailhost sees %v", err)
	}
	// The client keeps its side open, and that keeps no session.
	front.Ends("IMAPS").WaitN(t, 1, "LOGOUT, user=there.*rcvd=6, sent=0")

	c, raw := login(t, "there")
	io.WriteString(c, "stay\r\n")
	<-heard          // half
	<-heard          // stay
	raw.CloseWrite() // no close_notify
	if err := <-ended; err == nil {
		t.Error("the mailhost sees a clean end of a stream that was cut")
	}
	front.Broken(t, "IMAPS", 1, "TLS stream cut off")

	c, _ = login(t, "there")
	io.WriteString(c, "cut\r\n")
	<-ended
	if _, err := readEnd(c); err == nil {
		t.Error("the client sees a clean end of a stream that the mailhost cut")
	}
	front.Broken(t, "IMAPS", 2, "TLS stream cut off")

	// A local server that ends: the client reads all of it and close_notify.
	c, _ = login(t, "here")
	io.WriteString(c, "one\ntwo\n")
	if rest, err := readEnd(c); err != nil || string(rest) != "got one\nthen two\n" {
		t.Errorf("local server: %q %v", rest, err)
	}
	c.Close()
	front.Idle(t)
	harness.NoneLeft(t, "local-server")
}
