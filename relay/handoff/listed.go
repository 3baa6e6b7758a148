package handoff

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"mailproxy/internal/text"
	"mailproxy/relay"
)

// Listed is a session in the answer to Who.
type Listed struct {
	User, RemoteIP, RemotePort string
	Protocol, Mailhost         string
	Start                      time.Time
	FromClient, FromMailhost   int64 // bytes
}

// List describes a session. Its names are as a terminal may have them.
func List(i relay.Info, s relay.Stats) Listed {
	return Listed{User: text.Visible(i.User), Protocol: text.Visible(i.Protocol),
		RemoteIP: text.Visible(i.RemoteIP), RemotePort: text.Visible(i.RemotePort),
		Mailhost: text.Visible(i.Mailhost), Start: i.Start.UTC().Truncate(time.Second),
		FromClient: s.FromClient, FromMailhost: s.FromMailhost}
}

// Line is the session's line, with its line end: user, address, protocol, mailhost, since when, bytes from
// and to the client, separated by tabs.
func (l Listed) Line() string {
	return fmt.Sprintf("%s\t[%s]:%s\t%s\t%s\t%s\t%d\t%d\n", l.User, l.RemoteIP, l.RemotePort, l.Protocol,
		l.Mailhost, l.Start.Format(time.RFC3339), l.FromClient, l.FromMailhost)
}

// ParseListed reads a line, without its end. Names that Line would not have written are an error.
func ParseListed(line string) (Listed, error) {
	f := strings.Split(line, "\t")
	if len(f) != 7 {
		return Listed{}, fmt.Errorf("%w: a session of %d fields", ErrSyntax, len(f))
	}
	for _, s := range f {
		if s != text.Line(s) {
			return Listed{}, fmt.Errorf("%w: a name that cannot be shown", ErrSyntax)
		}
	}
	ip, port, ok := cutAddress(f[1])
	if !ok {
		return Listed{}, fmt.Errorf("%w: an address of another form", ErrSyntax)
	}
	l := Listed{User: f[0], RemoteIP: ip, RemotePort: port, Protocol: f[2], Mailhost: f[3]}
	var err error
	if l.Start, err = time.Parse(time.RFC3339, f[4]); err != nil {
		return Listed{}, fmt.Errorf("%w: not a time", ErrSyntax)
	}
	l.Start = l.Start.UTC()
	for i, n := range []*int64{&l.FromClient, &l.FromMailhost} {
		if *n, err = strconv.ParseInt(f[5+i], 10, 64); err != nil || *n < 0 {
			return Listed{}, fmt.Errorf("%w: not a number of bytes", ErrSyntax)
		}
	}
	return l, nil
}

// cutAddress splits "[IP]:PORT".
func cutAddress(s string) (ip, port string, ok bool) {
	s, ok = strings.CutPrefix(s, "[")
	i := strings.LastIndex(s, "]:")
	if !ok || i < 0 {
		return "", "", false
	}
	return s[:i], s[i+2:], true
}

// IsOf says whether a session is one of whom: a user as the list shows it, or a client's address in any
// spelling, with or without ::ffff:.
func IsOf(i relay.Info, whom string) bool {
	if whom == "" {
		return false
	}
	if text.Visible(i.User) == text.Visible(whom) {
		return true
	}
	addr, err := netip.ParseAddr(whom)
	if err != nil {
		return i.RemoteIP == whom
	}
	remote, err := netip.ParseAddr(i.RemoteIP)
	return err == nil && remote.Unmap() == addr.Unmap()
}
