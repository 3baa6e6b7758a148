package frontend

import (
	"errors"
	"net/netip"
	"slices"

	"mailproxy/internal/text"
)

// errNotAllowed says that PROXY_MAILHOSTS does not let accounts be sent to a server: an account database that
// somebody has got into must not be able to have passwords, and least of all the master password, sent to a
// machine of his.
var errNotAllowed = errors.New("PROXY_MAILHOSTS does not allow this mailhost")

// mayBeAllowed says whether it is worth asking for a server's addresses.
func (s *Conn) mayBeAllowed(host Host) bool {
	list := s.Config.Mailhosts
	return list.Empty() || list.Name(host.Name) || list.Networks()
}

// allowed returns the addresses of a server to which accounts may be sent: all of them when its name is on
// the list, else those within a network on the list.
func (s *Conn) allowed(host Host, addrs []netip.Addr) []netip.Addr {
	list := s.Config.Mailhosts
	if list.Empty() || list.Name(host.Name) {
		return addrs
	}
	return slices.DeleteFunc(addrs, func(addr netip.Addr) bool { return !list.Address(addr) })
}

// logNotAllowed: an account's mailhost is not one of PROXY_MAILHOSTS.
func (s *Conn) logNotAllowed(address string, host Host) {
	s.Log.Warnf(
		"account %s is not sent to mailhost %s: %v",
		text.Field(address),
		text.Field(host.String()),
		errNotAllowed,
	)
}
