package mailhost

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// Host is one server of a mailhost option.
type Host struct {
	// Name is a host name or an address without brackets.
	Name string
	// Port is a decimal number, empty when the option names none.
	Port string
}

// String writes the host as an option holds it.
func (h Host) String() string {
	switch {
	case h.Port != "":
		return net.JoinHostPort(h.Name, h.Port)
	case strings.Contains(h.Name, ":"):
		return "[" + h.Name + "]"
	}
	return h.Name
}

// maxHosts bounds the servers of one account: each may cost a client the whole connect timeout.
const maxHosts = 16

// ParseMailhosts reads the value of an account's mailhost option: "host", "host:port",
// "[2001:db8::1]:port", an address without brackets; several separated by semicolons or blanks. An empty
// list is no error.
func ParseMailhosts(option string) ([]Host, error) {
	fields := strings.FieldsFunc(option, func(r rune) bool { return r == ';' || r == ' ' || r == '\t' })
	if len(fields) > maxHosts {
		return nil, fmt.Errorf("%d mailhosts, at most %d are allowed", len(fields), maxHosts)
	}
	hosts := make([]Host, 0, len(fields))
	for _, field := range fields {
		h, err := parseHost(field)
		if err != nil {
			return nil, fmt.Errorf("mailhost %q: %w", field, err)
		}
		hosts = append(hosts, h)
	}
	return hosts, nil
}

func parseHost(field string) (Host, error) {
	if addr, err := parseAddr(field); err == nil {
		return Host{Name: addr.String()}, nil
	}
	if inner, ok := strings.CutPrefix(field, "["); ok {
		text, rest, ok := strings.Cut(inner, "]")
		addr, err := parseAddr(text)
		if !ok || err != nil || !addr.Is6() {
			return Host{}, errors.New("brackets must hold an IPv6 address")
		}
		if rest == "" {
			return Host{Name: addr.String()}, nil
		}
		port, ok := strings.CutPrefix(rest, ":")
		if !ok {
			return Host{}, errors.New("only :port may follow the brackets")
		}
		return withPort(addr.String(), port)
	}
	name, port, found := strings.Cut(field, ":")
	if err := checkName(name); err != nil {
		return Host{}, err
	}
	if !found {
		return Host{Name: name}, nil
	}
	return withPort(name, port)
}

// parseAddr reads an IP address. netip takes anything for a zone, line ends included; here it is an
// interface's name.
func parseAddr(text string) (netip.Addr, error) {
	addr, err := netip.ParseAddr(text)
	if err == nil && addr.Zone() != "" {
		err = checkName(addr.Zone())
	}
	return addr, err
}

func withPort(name, port string) (Host, error) {
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return Host{}, fmt.Errorf("port %q is not a number from 1 to 65535", port)
	}
	return Host{Name: name, Port: strconv.FormatUint(n, 10)}, nil
}

// checkName takes what may stand in a host name (RFC 1123 section 2.1, and the underscore that is met in
// practice), so that nothing odd reaches the resolver or the log.
func checkName(name string) error {
	if name == "" || len(name) > 253 {
		return errors.New("no host name of 1 to 253 bytes")
	}
	for _, c := range []byte(name) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '.', c == '-', c == '_':
		default:
			return fmt.Errorf("a host name cannot hold %q", c)
		}
	}
	if name[0] == '.' || name[0] == '-' {
		return fmt.Errorf("a host name cannot begin with %q", name[0])
	}
	return nil
}
