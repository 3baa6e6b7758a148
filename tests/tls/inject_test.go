package tls

import (
	"crypto/tls"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"mailproxy/tests/harness"
)

// A command that somebody puts after STARTTLS or STLS, in the same packet or in the next, is never executed
// (CVE-2011-0411): the handshake meets it and fails. One log line each.
func TestInjectionFromClient(t *testing.T) { frontEnds(t, testInjectionFromClient) }

func testInjectionFromClient(t *testing.T, p *pki) {
	startAccounts(t, p, dovecotAddr)
	f := startFront(t, p, "127.0.1.1", p.env(nil))
	for _, c := range []struct {
		name, port, greeting, command, injected, answer string
		log                                             *harness.Log
	}{
		{"imap", "143", "* OK ", "a STARTTLS\r\n", "b LOGOUT\r\n", "BYE", f.Log("IMAP")},
		{"pop3", "110", "+OK", "STLS\r\n", "QUIT\r\n", "luck", f.Log("POP3")},
	} {
		for _, packets := range []string{"one", "two"} {
			raw := dialTCP(t, net.JoinHostPort(f.Addr, c.port))
			readUntil(t, raw, "\n")
			before := len(c.log.Find("TLS FAILED"))
			if packets == "one" {
				io.WriteString(raw, c.command+c.injected)
			} else {
				io.WriteString(raw, c.command)
				io.WriteString(raw, c.injected)
			}
			readUntil(t, raw, "negotiation now.\r\n")
			conn := tls.Client(raw, &tls.Config{InsecureSkipVerify: true})
			conn.SetDeadline(time.Now().Add(30 * time.Second))
			if err := conn.Handshake(); err == nil {
				got, _ := io.ReadAll(conn)
				t.Errorf("%s, %s packets: handshake succeeds, then %q", c.name, packets, got)
			}
			lines := c.log.WaitN(t, before+1, "TLS FAILED")
			if !strings.Contains(lines[before], "first record does not look like a TLS handshake") {
				t.Errorf("%s: %q", c.name, lines)
			}
		}
	}
}

// readUntil reads byte by byte to the end of text.
func readUntil(t *testing.T, c net.Conn, text string) string {
	t.Helper()
	var got strings.Builder
	b := make([]byte, 1)
	for !strings.HasSuffix(got.String(), text) {
		if _, err := io.ReadFull(c, b); err != nil {
			t.Fatalf("%v after %q", err, got.String())
		}
		got.Write(b)
	}
	return got.String()
}

// Handshakes that stop, dribble or are nonsense end in bounded time with one log line, on the TLS port and
// after STARTTLS.
func TestBadHandshakes(t *testing.T) { frontEnds(t, testBadHandshakes) }

func testBadHandshakes(t *testing.T, p *pki) {
	f := startFront(t, p, "127.0.1.1", p.env(harness.Env{"TLS_HANDSHAKE_TIMEOUT": "4"}))
	hello := clientHello(t)
	type attempt struct {
		name, port, why string
		local           int
		took            time.Duration
		rest            []byte
		done            chan struct{}
	}
	var attempts []*attempt
	for _, c := range []struct {
		name, why string
		play      func(c *net.TCPConn)
	}{
		{"silent", "timeout", func(c *net.TCPConn) {}},
		{"half a ClientHello", "timeout", func(c *net.TCPConn) { c.Write(hello[:len(hello)/2]) }},
		{"stops after ClientHello", "timeout", func(c *net.TCPConn) { c.Write(hello) }},
		{"one byte at a time", "timeout", func(c *net.TCPConn) {
			for _, b := range hello {
				if _, err := c.Write([]byte{b}); err != nil {
					return
				}
				time.Sleep(20 * time.Millisecond) // the pace is what is tested
			}
		}},
		{"garbage", "does not look like", func(c *net.TCPConn) { c.Write([]byte("GET / HTTP/1.0\r\n\r\n")) }},
		{"closes", "closed", func(c *net.TCPConn) { c.Write(hello[:20]); c.CloseWrite() }},
		{"endless message", "exceeds|too|unexpected|oversized", func(c *net.TCPConn) {
			c.Write([]byte{22, 3, 1, 0x40, 0x00, 1, 0xff, 0xff, 0xff})
			for range 1000 {
				if _, err := c.Write(make([]byte, 16384)); err != nil {
					return
				}
			}
		}},
	} {
		for _, port := range []string{"143", "993", "110", "995"} {
			raw := dialTCP(t, net.JoinHostPort(f.Addr, port))
			a := &attempt{
				name:  c.name,
				port:  port,
				why:   c.why,
				local: raw.LocalAddr().(*net.TCPAddr).Port,
				done:  make(chan struct{}),
			}
			attempts = append(attempts, a)
			if command := map[string]string{"143": "a STARTTLS\r\n", "110": "STLS\r\n"}[port]; command != "" {
				readUntil(t, raw, "\n")
				io.WriteString(raw, command)
				readUntil(t, raw, "\n")
			}
			start := time.Now()
			go c.play(raw)
			go func() {
				a.rest, _ = io.ReadAll(raw)
				a.took = time.Since(start)
				close(a.done)
			}()
		}
	}
	for _, a := range attempts {
		t.Run(a.name+"/"+a.port, func(t *testing.T) {
			<-a.done
			if a.took > harness.Patience {
				t.Errorf("took %v", a.took)
			}
			if strings.Contains(string(a.rest), "BYE") || strings.Contains(string(a.rest), "-ERR") {
				t.Errorf("clear text after TLS began: %q", a.rest)
			}
			log := f.Log(map[string]string{"143": "IMAP", "993": "IMAPS", "110": "POP3", "995": "POP3S"}[a.port])
			lines := log.WaitN(t, 1, "TLS FAILED, ip=.*port=\\["+itoa(a.local)+"\\]: .*("+a.why+")")
			if all := log.Find("(INFO|NOTICE|WARN|ERR|CRIT): .*port=\\[" + itoa(a.local) + "\\]"); len(all) != 1 {
				t.Errorf("log lines %q, want only %q", all, lines)
			}
		})
	}
	t.Cleanup(func() { f.Idle(t) })
}

// clientHello is the first record of a real handshake.
func clientHello(t *testing.T) []byte {
	t.Helper()
	a, b := net.Pipe()
	defer a.Close()
	go func() {
		tls.Client(b, &tls.Config{InsecureSkipVerify: true}).Handshake()
		b.Close()
	}()
	head := make([]byte, 5)
	if _, err := io.ReadFull(a, head); err != nil {
		t.Fatal(err)
	}
	body := make([]byte, int(head[3])<<8|int(head[4]))
	if _, err := io.ReadFull(a, body); err != nil {
		t.Fatal(err)
	}
	return append(head, body...)
}
