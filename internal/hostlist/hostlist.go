// Package hostlist reads a list of hosts, by name and by network, and says which hosts are on it:
// PROXY_MAILHOSTS.
package hostlist

import (
	"fmt"
	"net/netip"
	"strings"
)

// List is a list of names and networks. The zero value is empty: nobody is on it.
type List struct {
	names    []string // without a dot at the end, in lower case
	suffixes []string // of patterns, with the dot in front: ".example.com"
	networks []netip.Prefix
}

// Parse reads words that blanks and commas separate: a host name; *.example.com, which stands for every name
// below example.com, at any depth, but not for example.com itself; an address; a network such as
// 192.0.2.0/24.
func Parse(text string) (List, error) {
	var l List
	separator := func(r rune) bool { return r == ',' || r == ' ' || r == '\t' || r == '\n' }
	for _, word := range strings.FieldsFunc(text, separator) {
		if addr, err := netip.ParseAddr(word); err == nil && addr.Zone() == "" {
			l.networks = append(l.networks, netip.PrefixFrom(addr.Unmap(), addr.Unmap().BitLen()))
			continue
		}
		if prefix, err := netip.ParsePrefix(word); err == nil {
			if prefix, err = plain(prefix); err != nil {
				return List{}, fmt.Errorf("%q: %w", word, err)
			}
			l.networks = append(l.networks, prefix)
			continue
		}
		name, pattern := strings.CutPrefix(word, "*.")
		name = canonical(name)
		if !isName(name) {
			return List{}, fmt.Errorf(
				"%q is no host name, pattern such as *.example.com, address or network such as 192.0.2.0/24",
				word,
			)
		}
		if pattern {
			l.suffixes = append(l.suffixes, "."+name)
		} else {
			l.names = append(l.names, name)
		}
	}
	return l, nil
}

// plain returns a network of IPv4 addresses that are written as IPv6 as one of IPv4. One with bits set after
// its length is refused: it is not clear what was meant.
func plain(p netip.Prefix) (netip.Prefix, error) {
	if p != p.Masked() {
		return p, fmt.Errorf("bits are set after the prefix: %v is meant", p.Masked())
	}
	if p.Addr().Is4In6() {
		if p.Bits() < 96 {
			return p, fmt.Errorf("a network of IPv4 addresses has a prefix of at least 96 bits here")
		}
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p, nil
}

// Empty says whether there is nothing on the list.
func (l List) Empty() bool { return len(l.names)+len(l.suffixes)+len(l.networks) == 0 }

// Networks says whether there are addresses or networks on the list.
func (l List) Networks() bool { return len(l.networks) > 0 }

// Name says whether a host name is on the list, or matches a pattern on it, without regard to case (RFC
// 4343).
func (l List) Name(name string) bool {
	name = canonical(name)
	for _, n := range l.names {
		if n == name {
			return true
		}
	}
	for _, suffix := range l.suffixes {
		if len(name) > len(suffix) && strings.HasSuffix(name, suffix) {
			return true
		}
	}
	return false
}

// Address says whether an address lies in a network on the list.
func (l List) Address(addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	for _, network := range l.networks {
		if network.Contains(addr) {
			return true
		}
	}
	return false
}

func canonical(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }

// isName says whether a text can be a host name (RFC 1123 section 2.1, and the underscore), and cannot be
// meant for an address: its last label is not a number (RFC 3696 section 2).
func isName(name string) bool {
	if name == "" || len(name) > 253 {
		return false
	}
	labels := strings.Split(name, ".")
	for _, label := range labels {
		if label == "" || label[0] == '-' || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return false
		}
	}
	return strings.Trim(labels[len(labels)-1], "0123456789") != ""
}
