package session

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"mailproxy/tests/harness"
	"mailproxy/tests/testcert"
)

// A client that ends its side first still gets all that the mailhost has to say. The mailhost's end is the
// session's end: a client that is slow, keeps sending, and keeps its side open, gets every byte, the end of
// the stream and no reset.
func TestHalfClose(t *testing.T) {
	harness.EachMode(t, func(t *testing.T, m *harness.Mode) {
		rawWorld(t)
		cert := harness.NewPKI(t).File(t, "cert.pem", testcert.Spec{Name: "x"})
		p := m.Start(t, harness.ProxyOptions{Addr: addr, TLS: true, Env: harness.Env{"TLS_CERTFILE": cert}})
		t.Run("both", func(t *testing.T) {
			for _, protocol := range []string{"IMAP", "POP3"} {
				t.Run(protocol, func(t *testing.T) {
					t.Parallel() // slow clients are waited for
					halfClose(t, p, protocol)
				})
			}
		})
		p.Idle(t)
	})
}

// halfCloser is a connection whose directions end separately.
type halfCloser interface {
	net.Conn
	CloseWrite() error
}

// enterTLS is enter for the TLS ports too.
func enterTLS(t *testing.T, p *harness.Proxy, protocol string) halfCloser {
	t.Helper()
	if !strings.HasSuffix(protocol, "S") {
		return enter(t, p, protocol)
	}
	conn, err := tls.Dial("tcp", p.At(protocol), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	logIn(t, conn, protocol)
	return conn
}

// halfClose has sessions end in both orders, on the port of a protocol and on that for TLS.
func halfClose(t *testing.T, p *harness.Proxy, protocol string) {
	const size = 10 << 20
	host := make(chan sums, 1)
	rawMailhost(t, protocol, func(conn *net.TCPConn) error {
		s, err := halfCloseHost(conn, size)
		host <- s
		return err
	})
	// One line at the end of each session, with what passed: both ways, and the byte that gives the order; where
	// the mailhost ends first, what the client sent before that.
	for first, rcvd := range map[string]string{"client": strconv.Itoa(size + 1), "mailhost": `[1-9]\d{0,5}`} {
		for _, port := range []string{protocol, protocol + "S"} {
			t.Run(port+"/"+first, func(t *testing.T) {
				line := fmt.Sprintf(`^INFO: LOGOUT, user=raw, ip=\[::ffff:127\.0\.0\.1\], port=\[\d+\], `+
					`mailhost=127\.0\.0\.9, rcvd=%s, sent=%d, time=\d+, protocol=%s$`, rcvd, size, protocol)
				before := len(p.Ends(port).Find(line))
				client, err := halfCloseClient(enterTLS(t, p, port), first, size)
				if err != nil {
					t.Fatal(err)
				}
				if s := <-host; s.sent != client.got || s.got != client.sent {
					t.Errorf("checksums differ: client %+v, mailhost %+v", client, s)
				}
				p.Ends(port).WaitN(t, before+1, line)
			})
		}
	}
}

// halfCloseClient is the client's side: it tells the mailhost who ends first.
func halfCloseClient(conn halfCloser, first string, size int64) (s sums, err error) {
	if first == "mailhost" {
		if tcp, ok := conn.(*net.TCPConn); ok {
			err = tcp.SetReadBuffer(slowBuffer)
		} else {
			err = conn.(*tls.Conn).NetConn().(*net.TCPConn).SetReadBuffer(slowBuffer)
		}
		if err != nil {
			return s, err
		}
		io.WriteString(conn, "M")
		go chatter(conn)
		_, s.got, err = receive(slowly{conn})
		return s, err
	}
	io.WriteString(conn, "C")
	if s.sent, err = send(conn, size, 4); err == nil {
		err = conn.CloseWrite()
	}
	if err == nil {
		_, s.got, err = receive(conn)
	}
	return s, err
}

// halfCloseHost is the mailhost's side: the client's first byte says who ends first.
func halfCloseHost(conn *net.TCPConn, size int64) (s sums, err error) {
	order := make([]byte, 1)
	if _, err := io.ReadFull(conn, order); err != nil {
		return s, err
	}
	if order[0] == 'C' { // the client ends first: read all, then send all
		if _, s.got, err = receive(conn); err == nil {
			s.sent, err = send(conn, size, 3)
		}
		return s, err
	}
	if s.sent, err = send(conn, size, 3); err != nil {
		return s, err
	}
	if err := conn.CloseWrite(); err != nil {
		return s, err
	}
	_, err = io.Copy(io.Discard, conn)
	return s, err
}

// chatter sends until the connection does not take it any more.
func chatter(conn net.Conn) {
	for range time.Tick(5 * time.Millisecond) {
		if _, err := io.WriteString(conn, "NOOP\r\n"); err != nil {
			return
		}
	}
}

// slowBuffer bounds what the client's kernel has taken when the mailhost ends: that is to be read within a
// second.
const slowBuffer = 32 << 10

// slowly reads 10 MiB in more than a second.
type slowly struct{ net.Conn }

func (s slowly) Read(p []byte) (int, error) {
	time.Sleep(5 * time.Millisecond)
	return s.Conn.Read(p[:min(len(p), 32<<10)])
}
