package check

import (
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"mailproxy/internal/identity"
	"mailproxy/internal/throttle"
)

// machine looks at what the settings name on this machine: users and files.
func (c *check) machine() {
	r, s := c.report, c.server.Config
	if s.ThrottleFile != "" {
		if err := throttle.Inspect(s.ThrottleFile); err != nil {
			r.warn("settings", "THROTTLE_FILE: %v; logins are not slowed down and MAXUNAUTHPERIP does not count", err)
		}
	}
	if s.RelayUser == "" || !s.Proxy {
		return
	}
	_, err := identity.Ordinary(s.RelayUser)
	if err == nil {
		return
	}
	if _, missing := os.Stat(s.RelaySocket); s.RelaySocket != "" && missing == nil {
		r.warn("settings", "PROXY_USER=%s: %v; a session that relayd does not take is refused", s.RelayUser, err)
		return
	}
	r.fail("settings", "PROXY_USER=%s: %v; started as root, the program refuses all accounts that are elsewhere",
		s.RelayUser, err)
}

// comesBack says whether an address is this machine's, and the port one at which this program is to be
// expected.
func (c *check) comesBack(addr netip.AddrPort) bool {
	port := strconv.Itoa(int(addr.Port()))
	p := c.server.Protocol
	if port != p.Port && port != p.TLSPort {
		return false
	}
	if addr.Addr().IsLoopback() {
		return true
	}
	own, err := net.InterfaceAddrs()
	if err != nil {
		c.report.warn("mailhost", "the addresses of this machine: %v", err)
	}
	for _, a := range own {
		if prefix, err := netip.ParsePrefix(a.String()); err == nil && prefix.Addr() == addr.Addr().WithZone("") {
			return true
		}
	}
	return false
}

// loop says what to do about a mailhost that is this machine under another name. Sure: it greets as we do.
func (c *check) loop(host string, addr netip.AddrPort, sure bool) {
	name := strings.TrimSuffix(host, ".")
	if sure {
		c.unusable("mailhost", "%s (%s) is this proxy itself, and the login would come back here: "+
			"PROXY_HOSTNAME=%s makes accounts with this mailhost local ones", host, addr, name)
		return
	}
	c.report.warn("mailhost", "%s (%s) is this machine: if it is this proxy that listens there, "+
		"PROXY_HOSTNAME=%s makes accounts with this mailhost local ones", host, addr, name)
}
