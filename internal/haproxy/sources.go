package haproxy

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"

	"mailproxy/internal/peercred"
)

// Sources are who may send a header: addresses, and processes that connect over a unix socket.
type Sources struct {
	addresses []netip.Prefix
	processes *peercred.Set // nil = none
}

// DefaultSources is what HAPROXY_ALLOW is when it is not set: this machine.
const DefaultSources = "127.0.0.0/8 ::1"

// ParseSources reads addresses, prefixes and @groups of processes, separated by blanks or commas. There must
// be one.
func ParseSources(list string) (*Sources, error) {
	var groups []string
	s := new(Sources)
	for _, word := range peercred.Names(list) {
		if strings.HasPrefix(word, "@") {
			groups = append(groups, word)
			continue
		}
		prefix, err := netip.ParsePrefix(word)
		if err != nil {
			addr, aerr := netip.ParseAddr(word)
			if aerr != nil {
				return nil, fmt.Errorf("%q is neither an address nor a prefix such as 192.0.2.0/24, nor a @group", word)
			}
			prefix = netip.PrefixFrom(addr.Unmap(), addr.Unmap().BitLen())
		}
		s.addresses = append(s.addresses, prefix.Masked())
	}
	if groups == nil && s.addresses == nil {
		return nil, errors.New("must be addresses, prefixes and @groups")
	}
	if groups == nil {
		return s, nil
	}
	var err error
	s.processes, err = peercred.NewSet(groups...)
	return s, err
}

// Check says whether the other end of a connection is to send a header. The error is for a process that must
// not be there at all: one that is in no @group, at a unix socket that is for them. A unix socket without a
// name is one end of a pair, with a program such as couriertls at the other, which only passes on what the
// client sends.
func (s *Sources) Check(conn net.Conn) (sends bool, err error) {
	switch from := conn.RemoteAddr().(type) {
	case *net.TCPAddr:
		return s.contain(from.AddrPort().Addr()), nil
	case *net.UnixAddr:
		socket, ok := conn.(syscall.Conn)
		name := conn.LocalAddr().String()
		if s.processes == nil || !ok || name == "" || name == "@" { // net's word for none
			return false, nil
		}
		return true, s.processes.Check(socket)
	}
	return false, nil
}

func (s *Sources) contain(addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	for _, prefix := range s.addresses {
		if prefix.Contains(addr) {
			return true
		}
	}
	return false
}

// Loopback says whether every user of this machine may send a header.
func (s *Sources) Loopback() bool {
	loopback := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	for _, prefix := range s.addresses {
		if prefix.Overlaps(loopback[0]) || prefix.Overlaps(loopback[1]) {
			return true
		}
	}
	return false
}
