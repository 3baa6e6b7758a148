package record

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"testing"

	"mailproxy/relay/internal/pump"
	"mailproxy/relay/internal/wire"

	"golang.org/x/sys/unix"
)

// twins are two Codecs that talk to each other.
func twins(version, id uint16) (a, b *Codec) {
	s, err := find(version, id)
	if err != nil {
		panic(err)
	}
	n := s.keyLen + s.ivLen
	if version == tls.VersionTLS13 {
		n = s.hash().Size()
	}
	a = &Codec{version: version, id: id}
	a.in.n, a.out.n = uint8(n), uint8(n)
	for i := range n {
		a.in.secret[i], a.out.secret[i] = byte(i), byte(100+i)
	}
	b = &Codec{version: version, id: id, in: a.out, out: a.in}
	return a, b
}

var suites = [][2]uint16{
	{tls.VersionTLS13, tls.TLS_AES_128_GCM_SHA256}, {tls.VersionTLS13, tls.TLS_AES_256_GCM_SHA384}, {tls.VersionTLS13, tls.TLS_CHACHA20_POLY1305_SHA256},
	{tls.VersionTLS12, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}, {tls.VersionTLS12, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384},
	{tls.VersionTLS12, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256},
}

func TestSealOpen(t *testing.T) {
	for _, v := range suites {
		a, b := twins(v[0], v[1])
		for _, n := range []int{1, 100, pump.MaxPlain, pump.MaxPlain + 1, 3 * pump.MaxPlain} {
			data := bytes.Repeat([]byte{byte(n)}, n)
			raw, err := a.Seal(nil, data)
			if err != nil || len(raw) > pump.SealedLen(n) {
				t.Fatalf("%x: %d bytes became %d, %v", v, n, len(raw), err)
			}
			if n == 100 { // idle in between, moved to another process
				a.Rest()
				if b, err = Unmarshal(b.Marshal()); err != nil {
					t.Fatal(err)
				}
			}
			var got []byte
			for len(raw) > 0 {
				l, err := (*Codec)(nil).Split(raw)
				if err != nil || l == 0 {
					t.Fatal(l, err)
				}
				p, ended, err := b.Open(raw[:l])
				if err != nil || ended {
					t.Fatal(ended, err)
				}
				got, raw = append(got, p...), raw[l:]
			}
			if !bytes.Equal(got, data) {
				t.Errorf("%x: %d bytes changed", v, n)
			}
		}
		end, _ := a.SealEnd(nil)
		if _, ended, err := b.Open(end); !ended || err != nil {
			t.Errorf("%x: close_notify: %v %v", v, ended, err)
		}
	}
}

// TestTampering: a record that was changed, repeated, left out or moved is refused.
func TestTampering(t *testing.T) {
	for _, v := range suites {
		a, b := twins(v[0], v[1])
		r1, _ := a.Seal(nil, []byte("first"))
		r2, _ := a.Seal(nil, []byte("second"))
		for i := range r1 {
			bad := bytes.Clone(r1)
			bad[i] ^= 1
			probe := *b
			if n, err := (*Codec)(nil).Split(bad); n != len(bad) || err != nil {
				continue
			}
			if p, _, err := probe.Open(bad); err == nil {
				t.Fatalf("%x: byte %d changed: %q", v, i, p)
			}
		}
		probe := *b
		if _, _, err := probe.Open(bytes.Clone(r2)); !errors.Is(err, ErrRecord) {
			t.Errorf("%x: the second record before the first: %v", v, err)
		}
		probe = *b
		_, _, _ = probe.Open(bytes.Clone(r1))
		if _, _, err := probe.Open(bytes.Clone(r1)); !errors.Is(err, ErrRecord) {
			t.Errorf("%x: a record twice: %v", v, err)
		}
	}
}

// TestMessages: what a peer may send besides data in TLS 1.3.
func TestMessages(t *testing.T) {
	ticket := append([]byte{4, 0, 0, 200}, make([]byte, 200)...)
	for _, tc := range []struct {
		name  string
		kind  byte
		parts [][]byte
		err   error
		asked bool
	}{
		{"ticket", typeHandshake, [][]byte{ticket}, nil, false},
		{"ticket in two records", typeHandshake, [][]byte{ticket[:50], ticket[50:]}, nil, false},
		{"two tickets", typeHandshake, [][]byte{append(bytes.Clone(ticket), ticket...)}, nil, false},
		{"key update", typeHandshake, [][]byte{{24, 0, 0, 1, 0}}, nil, false},
		{"key update asked", typeHandshake, [][]byte{{24, 0, 0, 1, 1}}, nil, true},
		{"key update, bad", typeHandshake, [][]byte{{24, 0, 0, 1, 2}}, ErrRecord, false},
		{"key update not last", typeHandshake, [][]byte{{24, 0, 0, 1, 0, 4, 0, 0, 0}}, ErrRecord, false},
		{"cut", typeHandshake, [][]byte{{24, 0}}, ErrRecord, false},
		{"certificate request", typeHandshake, [][]byte{{13, 0, 0, 0}}, ErrRecord, false},
		{"warning", typeAlert, [][]byte{{1, 90}}, nil, false},
		{"fatal alert", typeAlert, [][]byte{{2, 40}}, ErrAlert, false},
		{"alert cut", typeAlert, [][]byte{{2}}, ErrRecord, false},
		{"unknown type", 24, [][]byte{{1}}, ErrRecord, false},
	} {
		a, b := twins(tls.VersionTLS13, tls.TLS_AES_128_GCM_SHA256)
		var err error
		for _, p := range tc.parts {
			raw, serr := a.seal(nil, tc.kind, p)
			if serr != nil {
				t.Fatal(serr)
			}
			var data []byte
			if data, _, err = b.Open(raw); len(data) > 0 {
				t.Errorf("%s: data %q", tc.name, data)
			}
		}
		if !errors.Is(err, tc.err) || b.Asked() != tc.asked {
			t.Errorf("%s: %v, asked %v", tc.name, err, b.Asked())
		}
	}
}

// TestKeyUpdate: both sides change their keys and still understand each other.
func TestKeyUpdate(t *testing.T) {
	a, b := twins(tls.VersionTLS13, tls.TLS_AES_256_GCM_SHA384)
	a.asked = true
	b.out.seq = rekeyAfter
	a.in.seq = rekeyAfter
	for i := range 3 {
		for _, p := range [][2]*Codec{{a, b}, {b, a}} {
			raw, err := p[0].Seal(nil, []byte("x"))
			if err != nil {
				t.Fatal(err)
			}
			var got []byte
			for len(raw) > 0 {
				n, _ := (*Codec)(nil).Split(raw)
				data, _, err := p[1].Open(raw[:n])
				if err != nil {
					t.Fatal(i, err)
				}
				got, raw = append(got, data...), raw[n:]
			}
			if string(got) != "x" {
				t.Errorf("round %d: %q", i, got)
			}
		}
	}
	if a.out.seq > 3 || b.out.seq > 3 {
		t.Error("keys were not changed")
	}
}

// TestDetachInTheMiddle: bytes that crypto/tls has taken already, whole records and a part of one, go with the state.
func TestDetachInTheMiddle(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		fa, fb, err := wire.Socketpair(unix.SOCK_STREAM)
		if err != nil {
			t.Fatal(err)
		}
		near, _ := net.FileConn(fa)
		far, _ := net.FileConn(fb)
		fa.Close()
		fb.Close()
		tap := NewTap(near, false)
		cfg := &tls.Config{Certificates: []tls.Certificate{testCertificate(t)}, MaxVersion: version}
		tap.Configure(cfg)
		s := tls.Server(tap, cfg)
		c := tls.Client(far, &tls.Config{InsecureSkipVerify: true})
		done := make(chan error, 1)
		go func() { done <- c.Handshake() }()
		if err := errors.Join(s.Handshake(), <-done); err != nil {
			t.Fatal(err)
		}
		tap.Established(s)
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

// FuzzOpen: whatever arrives is refused or is what was sealed.
func FuzzOpen(f *testing.F) {
	a, _ := twins(tls.VersionTLS13, tls.TLS_AES_128_GCM_SHA256)
	good, _ := a.Seal(nil, []byte("a NOOP\r\n"))
	end, _ := a.SealEnd(nil)
	f.Add(append(good, end...))
	f.Add([]byte{23, 3, 3, 0, 0})
	f.Add([]byte{20, 3, 3, 0, 1, 1})
	f.Add([]byte{23, 3, 3, 0xff, 0xff})
	f.Add([]byte("GET / HTTP/1.0\r\n\r\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		for _, v := range suites {
			_, b := twins(v[0], v[1])
			for p := bytes.Clone(raw); ; {
				n, err := (*Codec)(nil).Split(p)
				if err != nil || n == 0 {
					break
				}
				data, _, err := b.Open(p[:n])
				if err != nil {
					break
				}
				if len(data) > 0 && string(data) != "a NOOP\r\n" {
					t.Fatalf("forged: %q", data)
				}
				p = p[n:]
			}
		}
	})
}

func FuzzUnmarshal(f *testing.F) {
	a, _ := twins(tls.VersionTLS12, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256)
	f.Add(a.Marshal())
	a, _ = twins(tls.VersionTLS13, tls.TLS_AES_256_GCM_SHA384)
	f.Add(a.Marshal())
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := Unmarshal(b)
		if err != nil {
			return
		}
		if _, err := c.Seal(nil, []byte("x")); err != nil {
			t.Fatal(err)
		}
	})
}
