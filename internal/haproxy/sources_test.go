package haproxy

import (
	"errors"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"

	"mailproxy/internal/peercred"
	"mailproxy/tests/relaytest"
)

func TestSources(t *testing.T) {
	s, err := ParseSources("192.0.2.0/24, 2001:db8::1\t::ffff:198.51.100.9")
	if err != nil {
		t.Fatal(err)
	}
	for addr, want := range map[string]bool{
		"192.0.2.200": true, "::ffff:192.0.2.1": true, "192.0.3.1": false, "2001:db8::1": true,
		"2001:db8::2": false, "198.51.100.9": true,
	} {
		if got := s.contain(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s: %v, want %v", addr, got, want)
		}
	}
	if _, err := ParseSources("192.0.2.0/33"); err == nil || !strings.Contains(err.Error(), `"192.0.2.0/33"`) {
		t.Errorf("bad prefix: %v", err)
	}
	if s, err := ParseSources(DefaultSources); err != nil || !s.contain(netip.MustParseAddr("127.0.0.5")) ||
		!s.contain(netip.IPv6Loopback()) {
		t.Errorf("default: %v, %v", s, err)
	}
}

// Over a unix socket a header comes from processes of a group, and only where the socket has a name: at the
// other end of a pair is a program that passes on what a client sends.
func TestSourcesUnix(t *testing.T) {
	groups, err := ParseSources("192.0.2.1,@0")
	if err != nil {
		t.Fatal(err)
	}
	addresses, err := ParseSources("192.0.2.1 ::1")
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "socket"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dialed, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer dialed.Close()
	named, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer named.Close()
	pair, _ := relaytest.Unix(t, 0)
	for _, test := range []struct {
		name    string
		sources *Sources
		conn    net.Conn
		sends   bool
		refused bool
	}{
		{"a group", groups, named, true, false},
		{"no group", addresses, named, false, false},
		{"a pair", groups, pair, false, false},
		{"a stranger", &Sources{processes: new(peercred.Set)}, named, true, true},
	} {
		sends, err := test.sources.Check(test.conn)
		_, refused := errors.AsType[*peercred.Refused](err)
		if sends != test.sends || refused != test.refused || err != nil && !refused {
			t.Errorf("%s: %v, %v", test.name, sends, err)
		}
	}
	for _, list := range []string{"@no-such-group", "", " , "} {
		if _, err := ParseSources(list); err == nil {
			t.Errorf("%q was accepted", list)
		}
	}
	if groups.Loopback() || !addresses.Loopback() {
		t.Error("loopback")
	}
}
