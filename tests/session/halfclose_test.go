package session

import (
	"fmt"
	"io"
	"net"
	"testing"

	"mailproxy/tests/harness"
)

// The end of one direction is not the end of the other, whichever side ends first.
func TestHalfClose(t *testing.T) {
	harness.EachMode(t, func(t *testing.T, m *harness.Mode) {
		rawWorld(t)
		p := m.Start(t, harness.ProxyOptions{Addr: addr})
		for _, protocol := range []string{"IMAP", "POP3"} {
			halfClose(t, p, protocol)
		}
		p.Idle(t)
	})
}

func halfClose(t *testing.T, p *harness.Proxy, protocol string) {
	const size = 10 << 20
	host := make(chan sums, 1)
	rawMailhost(t, protocol, func(conn *net.TCPConn) error {
		s, err := halfCloseHost(conn, size)
		host <- s
		return err
	})
	for _, first := range []string{"client", "mailhost"} {
		t.Run(fmt.Sprintf("%s/%s", protocol, first), func(t *testing.T) {
			conn := enter(t, p, protocol)
			var client sums
			var err error
			if first == "client" {
				io.WriteString(conn, "C")
				if client.sent, err = send(conn, size, 4); err == nil {
					err = conn.CloseWrite()
				}
				if err == nil {
					_, client.got, err = receive(conn)
				}
			} else {
				io.WriteString(conn, "M")
				if _, client.got, err = receive(conn); err == nil {
					client.sent, err = send(conn, size, 4)
				}
				conn.Close()
			}
			if err != nil {
				t.Fatal(err)
			}
			if s := <-host; s.sent != client.got || s.got != client.sent {
				t.Errorf("checksums differ: client %+v, mailhost %+v", client, s)
			}
		})
	}
	// One line at the end of each session, with what passed: both ways, and the byte that gives the order.
	p.Ends(protocol).
		WaitN(t, 2, fmt.Sprintf(`^INFO: LOGOUT, user=raw, ip=\[::ffff:127\.0\.0\.1\], port=\[\d+\], `+
			`mailhost=127\.0\.0\.9, rcvd=%d, sent=%d, time=\d+, protocol=%s$`, size+1, size, protocol))
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
	_, s.got, err = receive(conn)
	return s, err
}
