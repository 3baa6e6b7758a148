package session

import (
	"fmt"
	"io"
	"net"
	"testing"

	"mailproxy/tests/harness"
)

// The end of one direction is not the end of the other, whoever ends first.
func TestHalfClose(t *testing.T) {
	const size = 10 << 20
	rawWorld(t)
	host := make(chan sums, 8)
	for _, protocol := range []string{"IMAP", "POP3"} {
		rawMailhost(t, protocol, func(conn *net.TCPConn) error {
			order := make([]byte, 1)
			if _, err := io.ReadFull(conn, order); err != nil {
				return err
			}
			var s sums
			var err error
			if order[0] == 'C' { // the client ends first: read all, then send all
				if _, s.got, err = receive(conn); err == nil {
					s.sent, err = send(conn, size, 3)
				}
			} else {
				if s.sent, err = send(conn, size, 3); err == nil {
					if err = conn.CloseWrite(); err == nil {
						_, s.got, err = receive(conn)
					}
				}
			}
			host <- s
			return err
		})
	}
	list := fronts(t)
	for _, f := range list {
		for _, protocol := range []string{"IMAP", "POP3"} {
			for _, first := range []string{"client", "mailhost"} {
				t.Run(fmt.Sprintf("%s/%s/%s", f.name, protocol, first), func(t *testing.T) {
					conn := enter(t, f, protocol)
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
		}
	}
	// One line at the end of each session, with what passed: 2 ways x 10 MiB, and the byte that gives the order.
	for _, f := range list {
		for protocol, p := range map[string]*harness.Process{"IMAP": f.imap, "POP3": f.pop3} {
			f.ends(p).WaitN(t, 2, fmt.Sprintf(`^INFO: LOGOUT, user=raw, ip=\[::ffff:127\.0\.0\.1\], port=\[\d+\], `+
				`mailhost=127\.0\.0\.9, rcvd=%d, sent=%d, time=\d+, protocol=%s$`, size+1, size, protocol))
		}
	}
	harness.NoneLeft(t, "imapd-proxy", "pop3d-proxy")
}
