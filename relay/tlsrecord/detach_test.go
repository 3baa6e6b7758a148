package tlsrecord

import (
	"crypto/tls"
	"errors"
	"io"
	"testing"
)

// TestDetachInTheMiddle: bytes that crypto/tls has taken already, whole records and a part of one, go with
// the state.
func TestDetachInTheMiddle(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		near, far := streams(t)
		tap := newTap(near, false)
		cfg := &tls.Config{Certificates: []tls.Certificate{testCertificate(t)}, MaxVersion: version}
		tap.configure(cfg)
		s := tls.Server(tap, cfg)
		c := tls.Client(far, &tls.Config{InsecureSkipVerify: true})
		done := make(chan error, 1)
		go func() { done <- c.Handshake() }()
		if err := errors.Join(s.Handshake(), <-done); err != nil {
			t.Fatal(err)
		}
		tap.established(s)
		_, _ = io.WriteString(c, "a LOGIN ann x\r\nb SELECT INBOX\r\n")
		line := make([]byte, 15)
		if _, err := io.ReadFull(s, line); err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(s, "a OK\r\n")
		_, _ = io.WriteString(c, "c NOOP\r\n")
		if err := tap.CanDetach(s); err != nil {
			t.Fatal(err)
		}
		d, err := tap.Detach(s)
		if err != nil || string(d.Plain) != "b SELECT INBOX\r\n" || len(d.Raw) != 0 || d.Ended {
			t.Fatalf("%+v %v", d, err)
		}
		if again, err := tap.Detach(s); again != d || err != nil {
			t.Error("a second Detach returns something else")
		}
		raw := make([]byte, 1000) // what followed is still in the socket
		n, err := near.Read(raw)
		if err != nil {
			t.Fatal(err)
		}
		if data, _, err := d.Codec.Open(raw[:n]); err != nil || string(data) != "c NOOP\r\n" {
			t.Fatalf("%q %v", data, err)
		}
		sealed, err := d.Codec.Seal(nil, []byte("b OK\r\n"))
		if err != nil || len(sealed) == 0 {
			t.Fatal(err)
		}
		_, _ = near.Write(sealed)
		s.Close() // must not speak to the client
		got, err := io.ReadAll(c)
		if string(got) != "a OK\r\nb OK\r\n" || err != nil {
			t.Errorf("the client got %q, %v", got, err)
		}
		far.Close()
	}
}
