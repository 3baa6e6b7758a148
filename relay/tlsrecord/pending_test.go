package tlsrecord

import (
	"crypto/tls"
	"errors"
	"io"
	"testing"

	"golang.org/x/sys/unix"
)

// clientConnected returns a client's Conn and its server after the handshake.
func clientConnected(t *testing.T, version uint16) (client *Conn, server *tls.Conn, raw io.Writer) {
	t.Helper()
	near, far := streams(t)
	client = Client(near, &tls.Config{InsecureSkipVerify: true, MaxVersion: version,
		ClientSessionCache: tls.NewLRUClientSessionCache(1), ServerName: "mail"})
	server = tls.Server(far, &tls.Config{Certificates: []tls.Certificate{testCertificate(t)}})
	done := make(chan error, 1)
	go func() { done <- server.Handshake() }()
	if err := errors.Join(client.Handshake(), <-done); err != nil {
		t.Fatal(err)
	}
	return client, server, far
}

// What has come is pending, wherever it is: decrypted, or still in the connection; nothing is lost by asking.
// Session tickets are nothing that was said.
func TestPending(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		c, s, raw := clientConnected(t, version)
		pending := func(when string, want bool) {
			t.Helper()
			for range 2 {
				if got := c.Pending(); got != want {
					t.Errorf("TLS %x, %s: pending: %v", version, when, got)
				}
			}
		}
		read := func(want string) {
			t.Helper()
			buf := make([]byte, len(want))
			if _, err := io.ReadFull(c, buf); err != nil || string(buf) != want {
				t.Fatalf("TLS %x: %q, %v", version, buf, err)
			}
		}
		pending("after the handshake", false)
		_, _ = io.WriteString(s, "+OK\r\n+OK\r\n")
		pending("two lines", true)
		read("+OK\r\n")
		pending("the second of a record", true)
		read("+OK\r\n")
		pending("all is read", false)
		_, _ = io.WriteString(s, "+OK\r\n")
		_, _ = io.WriteString(s, "-ERR\r\n")
		read("+OK\r\n")
		pending("another record", true)
		c.Unread([]byte("OK\r\n")) // in front of what Pending has decrypted
		pending("taken back", true)
		read("OK\r\n")
		d, err := c.Detach()
		if err != nil || string(d.Plain) != "-ERR\r\n" && string(d.Plain) != "-" {
			t.Fatalf("TLS %x: detached with %q, %v", version, d.Plain, err)
		}
		read("-ERR\r\n")
		pending("after a Detach", false)
		if _, err := raw.Write([]byte{23, 3}); err != nil { // of a record's header
			t.Fatal(err)
		}
		pending("a part of a record", false)
		s.NetConn().Close()
		pending("the end", false)
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, ErrTruncated) {
			t.Errorf("TLS %x: at the end: %v", version, err)
		}
	}
}

// An error that Pending meets is the next Read's.
func TestPendingError(t *testing.T) {
	c, s, _ := clientConnected(t, tls.VersionTLS13)
	_ = s.CloseWrite()
	if c.Pending() {
		t.Error("the end is pending")
	}
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Error(err)
	}
	c, _, raw := clientConnected(t, tls.VersionTLS13)
	if _, err := raw.Write(append([]byte{23, 3, 3, 0, 20}, make([]byte, 20)...)); err != nil {
		t.Fatal(err)
	}
	if c.Pending() {
		t.Error("a forged record is pending")
	}
	if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, unix.EAGAIN) {
		t.Error(err)
	}
}
