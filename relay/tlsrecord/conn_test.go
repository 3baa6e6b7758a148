package tlsrecord

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// streams returns the two ends of a stream.
func streams(t *testing.T) (near, far net.Conn) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	var conns [2]net.Conn
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "socketpair")
		conns[i], err = net.FileConn(f)
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conns[i].Close() })
	}
	return conns[0], conns[1]
}

// connected returns a server's Conn and its client after the handshake.
func connected(t *testing.T, version uint16) (server *Conn, client *tls.Conn, below net.Conn) {
	t.Helper()
	near, far := streams(t)
	server = Server(near, &tls.Config{Certificates: []tls.Certificate{testCertificate(t)}, MaxVersion: version})
	client = tls.Client(far, &tls.Config{InsecureSkipVerify: true})
	done := make(chan error, 1)
	go func() { done <- client.Handshake() }()
	if err := errors.Join(server.Handshake(), <-done); err != nil {
		t.Fatal(err)
	}
	return server, client, near
}

// TestRestore: a connection whose Detach came to nothing goes on as if nothing had happened, and can be
// detached again.
func TestRestore(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		s, c, below := connected(t, version)
		_, _ = io.WriteString(c, "a LOGIN\r\nb NOOP\r\n")
		if _, err := io.ReadFull(s, make([]byte, 9)); err != nil {
			t.Fatal(err)
		}
		for round := range 3 {
			d, err := s.Detach()
			if err != nil || string(d.Plain) != "b NOOP\r\n" {
				t.Fatalf("round %d: %+v %v", round, d, err)
			}
			if _, err := io.WriteString(s, "* OK\r\n"); err != nil {
				t.Fatal(err)
			}
			buf := make([]byte, 6)
			if _, err := io.ReadFull(c, buf); err != nil || string(buf) != "* OK\r\n" {
				t.Fatalf("round %d: %q %v", round, buf, err)
			}
		}
		_, _ = io.WriteString(c, "c NOOP\r\n")
		buf := make([]byte, 16)
		if _, err := io.ReadFull(s, buf); err != nil || string(buf) != "b NOOP\r\nc NOOP\r\n" {
			t.Fatalf("%q %v", buf, err)
		}
		d, err := s.Detach()
		if err != nil || len(d.Plain) != 0 {
			t.Fatalf("%+v %v", d, err)
		}
		raw, err := d.Codec.Seal(nil, []byte("c OK\r\n"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := below.Write(raw); err != nil {
			t.Fatal(err)
		}
		if err := s.Release(); err != nil {
			t.Fatal(err)
		}
		s.Close() // says nothing
		if got, _ := io.ReadAll(c); string(got) != "c OK\r\n" {
			t.Errorf("the client got %q", got)
		}
	}
}
