package tlsrecord

import (
	"bytes"
	"crypto/tls"
	"errors"
	"testing"
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
	b = &Codec{version: version, id: id, client: true, in: a.out, out: a.in}
	return a, b
}

var suites = [][2]uint16{
	{tls.VersionTLS13, tls.TLS_AES_128_GCM_SHA256}, {tls.VersionTLS13, tls.TLS_AES_256_GCM_SHA384},
	{tls.VersionTLS13, tls.TLS_CHACHA20_POLY1305_SHA256},
	{tls.VersionTLS12, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256},
	{tls.VersionTLS12, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384},
	{tls.VersionTLS12, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256},
}

func TestSealOpen(t *testing.T) {
	for _, v := range suites {
		a, b := twins(v[0], v[1])
		for _, n := range []int{1, 100, maxPlain, maxPlain + 1, 3 * maxPlain} {
			data := bytes.Repeat([]byte{byte(n)}, n)
			raw, err := a.Seal(nil, data)
			if err != nil || len(raw) > SealedLen(n) {
				t.Fatalf("%x: %d bytes became %d, %v", v, n, len(raw), err)
			}
			if n == 100 { // idle in between, moved to another process
				a.Rest()
				if b, err = Unmarshal(b.Marshal(), true); err != nil {
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
