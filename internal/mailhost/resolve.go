package mailhost

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strconv"

	"mailproxy/internal/config"
)

// ErrNotAllowed says that PROXY_MAILHOSTS does not let accounts be sent to a server: an account database that
// somebody has got into must not be able to have passwords, and least of all the master password, sent to a
// machine of their own.
var ErrNotAllowed = errors.New("PROXY_MAILHOSTS does not allow this mailhost")

// mayBeAllowed says whether it is worth asking for a server's addresses.
func (d *Dialer) mayBeAllowed(host Host) bool {
	list := d.Config.Mailhosts
	return list.Empty() || list.Name(host.Name) || list.Networks()
}

// allowed returns the addresses of a server to which accounts may be sent: all of them when its name is on
// the list, else those within a network on the list.
func (d *Dialer) allowed(host Host, addrs []netip.Addr) []netip.Addr {
	list := d.Config.Mailhosts
	if list.Empty() || list.Name(host.Name) {
		return addrs
	}
	return slices.DeleteFunc(addrs, func(addr netip.Addr) bool { return !list.Address(addr) })
}

// Resolve returns the addresses of a server with their port, in the order in which to try them: those to
// which accounts may be sent. mode is Conn's, by which the port goes. ErrNotAllowed: there are none such.
func (d *Dialer) Resolve(ctx context.Context, host Host, mode config.Mode) ([]netip.AddrPort, error) {
	number := host.Port
	if number == "" {
		number = d.defaultPort(mode)
	}
	port, err := strconv.ParseUint(number, 10, 16)
	if err != nil {
		return nil, err
	}
	if !d.mayBeAllowed(host) {
		return nil, ErrNotAllowed
	}
	ips := []netip.Addr{}
	if ip, err := netip.ParseAddr(host.Name); err == nil {
		ips = append(ips, ip)
	} else {
		ctx, cancel := context.WithTimeout(ctx, d.Config.ConnectTimeout)
		defer cancel()
		if ips, err = d.lookUp(ctx, host.Name); err != nil {
			return nil, err
		}
	}
	// 0.0.0.0 and :: lead to this host, unseen by the check for loops. Name servers that block a name
	// answer with them.
	ips = slices.DeleteFunc(ips, netip.Addr.IsUnspecified)
	if len(ips) == 0 {
		return nil, errors.New("the name has no address")
	}
	if ips = d.allowed(host, ips); len(ips) == 0 {
		return nil, ErrNotAllowed
	}
	addrs := make([]netip.AddrPort, 0, len(ips))
	for _, ip := range ips {
		addrs = append(addrs, netip.AddrPortFrom(ip.Unmap(), uint16(port)))
	}
	return addrs, nil
}

// lookUp returns the addresses of a name, by way of Health where there is one.
func (d *Dialer) lookUp(ctx context.Context, host string) ([]netip.Addr, error) {
	if d.Health == nil {
		return d.Lookup(ctx, host)
	}
	return d.Health.Names.find(ctx, host, d.Lookup, d.Config.ConnectTimeout)
}

// defaultPort is the port of a mailhost whose option names none.
func (d *Dialer) defaultPort(mode config.Mode) string {
	if d.mode(mode) == config.ModeTLS {
		return d.TLSPort
	}
	return d.Port
}

// mode is what an account says of encryption, or else PROXY_TLS.
func (d *Dialer) mode(own config.Mode) config.Mode {
	if own == "" {
		return d.Config.Mailhost.Mode
	}
	return own
}
