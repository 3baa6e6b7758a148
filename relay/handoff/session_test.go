package handoff

import (
	"bytes"
	"crypto/tls"
	"errors"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"mailproxy/internal/successor"
	"mailproxy/relay"
	"mailproxy/relay/tlsrecord"
)

// codec is a TLS state of a leg whose keys are all zero.
func codec(t testing.TB, version, suite uint16, leg int) *tlsrecord.Codec {
	t.Helper()
	secret := byte(20) // key and fixed part of the nonce
	if version == tls.VersionTLS13 {
		secret = 32
	}
	raw := make([]byte, len((&tlsrecord.Codec{}).Marshal()))
	raw[0], raw[1], raw[2], raw[3] = byte(version>>8), byte(version), byte(suite>>8), byte(suite)
	const head = 9
	raw[head], raw[(head+len(raw))/2] = secret, secret
	c, err := tlsrecord.Unmarshal(raw, leg == MailhostLeg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// sampleSessions are of every kind: plain, with TLS on either side, with bytes that were read before.
func sampleSessions(t testing.TB) []*Session {
	t.Helper()
	info := relay.Info{User: "ann@example.com", Protocol: "IMAP", RemoteIP: "::ffff:192.0.2.7",
		RemotePort: "4711", Mailhost: "mail1", Start: time.Unix(1795000000, 0)}
	report := &relay.Report{Protocol: "IMAP", Result: relay.LoginOK, Mailhost: "mail1", Took: time.Second,
		Failures: []relay.Failure{{Mailhost: "mail0", Step: "connect"}}}
	told := info
	told.Login = report
	first := []byte("a OK\r\n\n\n")
	return []*Session{
		{Info: info, HalfClose: time.Minute},
		{Info: told, HalfClose: time.Minute, KeepAlive: time.Hour, First: first},
		{Info: info, HalfClose: time.Minute, First: first, Legs: [2]Leg{
			{TLS: codec(t, tls.VersionTLS13, tls.TLS_AES_128_GCM_SHA256, ClientLeg), Plain: []byte("b NOOP\r\n")},
			{TLS: codec(t, tls.VersionTLS12, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, MailhostLeg),
				Plain: []byte("* 1 EXISTS\r\n"), Raw: []byte{23, 3, 3}, Ended: true},
		}},
	}
}

// same reports whether two sessions tell the same.
func same(a, b *Session) bool {
	if a.Info.Start.Unix() != b.Info.Start.Unix() || a.KeepAlive != b.KeepAlive || a.HalfClose != b.HalfClose ||
		!bytes.Equal(a.First, b.First) {
		return false
	}
	x, y := a.Info, b.Info
	x.Start, y.Start, x.Login, y.Login = time.Time{}, time.Time{}, nil, nil
	for i := range a.Legs {
		l, m := a.Legs[i], b.Legs[i]
		if (l.TLS == nil) != (m.TLS == nil) || !bytes.Equal(l.Plain, m.Plain) || !bytes.Equal(l.Raw, m.Raw) ||
			l.Ended != m.Ended || l.TLS != nil && !bytes.Equal(l.TLS.Marshal(), m.TLS.Marshal()) {
			return false
		}
	}
	return x == y
}

// again is a session that was written and read.
func again(t testing.TB, s *Session) *Session {
	t.Helper()
	p, err := s.Message().Encode()
	if err != nil {
		t.Fatal(err)
	}
	m, err := Decode(p)
	if err != nil {
		t.Fatalf("%q: %v", p, err)
	}
	got, err := ParseSession(m)
	if err != nil {
		t.Fatalf("%q: %v", p, err)
	}
	return got
}

func TestSessionMessage(t *testing.T) {
	for _, s := range sampleSessions(t) {
		if got := again(t, s); !same(s, got) {
			t.Errorf("%+v became %+v", s, got)
		}
	}
	// What is written is what can be read, whatever a name is.
	odd := relay.Info{User: "ann\nUSER=bob\x00\x1b\u0085", Start: time.Unix(0, 0)}
	got := again(t, &Session{Info: odd, HalfClose: time.Second})
	if strings.ContainsAny(got.Info.User, "\n\x00\x1b") {
		t.Errorf("%q", got.Info.User)
	}
}

// TestParseSessionRefuses: each field that is not as it must be.
func TestParseSessionRefuses(t *testing.T) {
	good := sampleSessions(t)[2]
	for _, tc := range []struct{ field, value string }{
		{"VERSION", "0"}, {"VERSION", ""}, {"START", "-1"}, {"START", "tomorrow"}, {"START", "9223372036854775807"},
		{"USER", strings.Repeat("u", 1025)}, {"USER", "a\x1b"}, {"KEEPALIVE", "-1"}, {"KEEPALIVE", "4294967296"},
		{"HALFCLOSE", ""}, {"HALFCLOSE", "1.5"}, {"FIRST", "-1"}, {"FIRST", "1000000"}, {"FIRST", "0"},
		{"CLIENT_PLAIN", "99"}, {"CLIENT_RAW", "-0x1"}, {"MAILHOST_RAW", "2"}, {"MAILHOST_RAW", ""},
		{"CLIENT_TLS", "0304"}, {"CLIENT_TLS", "no hexadecimal"}, {"MAILHOST_TLS", strings.Repeat("f", 500)},
	} {
		m := good.Message()
		m.Fields[tc.field] = tc.value
		if s, err := ParseSession(m); err == nil || s != nil {
			t.Errorf("%s=%.40q was taken", tc.field, tc.value)
		}
	}
	m := good.Message()
	m.Verb = "TAKE"
	if _, err := ParseSession(m); !errors.Is(err, errVersion) {
		t.Error(err)
	}
}

// FuzzSession: a CARRY message that is taken is written and read as the same, and what it says to hold is
// neither more nor less than its body.
func FuzzSession(f *testing.F) {
	for _, s := range sampleSessions(f) {
		p, err := s.Message().Encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(p)
	}
	f.Add([]byte("CARRY\nVERSION=1\nSTART=0\nKEEPALIVE=0\nHALFCLOSE=1\nFIRST=-1\n\nx"))
	f.Add([]byte("CARRY\nVERSION=1\nSTART=0\nKEEPALIVE=0\nHALFCLOSE=1\nFIRST=9999999\n\nx"))
	f.Fuzz(func(t *testing.T, p []byte) {
		m, err := Decode(p)
		if err != nil || len(p) > MaxPacket/2 {
			return
		}
		s, err := ParseSession(m)
		if err != nil {
			if s != nil {
				t.Fatalf("%q: a session beside %v", p, err)
			}
			return
		}
		held := slices.Concat(s.First, s.Legs[0].Plain, s.Legs[0].Raw, s.Legs[1].Plain, s.Legs[1].Raw)
		if !bytes.Equal(held, m.Body) {
			t.Fatalf("%q holds %q", p, held)
		}
		if got := again(t, s); !same(s, got) {
			t.Fatalf("%q: %+v became %+v", p, s, got)
		}
	})
}

// FuzzReceive: whatever one packet is, Receive returns the message that it is, or an error.
func FuzzReceive(f *testing.F) {
	a, b := socketPair(f)
	f.Add([]byte("OK\n\n"))
	f.Add([]byte("LIMIT\nREASON=too many\n\n"))
	f.Add([]byte{0})
	f.Fuzz(func(t *testing.T, p []byte) {
		if len(p) == 0 || len(p) > MaxPacket {
			return // an empty packet is the end
		}
		if _, err := a.Write(p); err != nil {
			t.Fatal(err)
		}
		got, fds, err := Receive(b)
		CloseAll(fds)
		want, werr := Decode(p)
		if (err == nil) != (werr == nil) || len(fds) > 0 {
			t.Fatalf("%q: %v, %v", p, err, werr)
		}
		if err == nil && (got.Verb != want.Verb || !bytes.Equal(got.Body, want.Body)) {
			t.Fatalf("%q: %v, %v", p, got, want)
		}
	})
}

func socketPair(t testing.TB) (a, b *net.UnixConn) {
	t.Helper()
	a, b, err := successor.Pair()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}
