package imap

import (
	"context"
	"net/netip"
	"strconv"
	"strings"

	"mailproxy/internal/config"
	"mailproxy/internal/frontend"
)

// forwardClient tells the mailhost who the real client is, with the fields of RFC 2971's ID command that Dovecot
// believes when its login_trusted_networks names us. PROXY_FORWARD_CLIENT=ID asks for it. A mailhost that calls itself one of
// our own kind is told in any case how many proxies may still follow: see Session.LimitHops.
func (u *upstream) forwardClient(context.Context) error {
	forward := u.m.Config.Forward == config.ForwardID
	if !forward && !u.proxy {
		return nil
	}
	u.step = frontend.StepForward
	var known []idField
	if c := u.m.Client; forward {
		known = []idField{
			{"x-originating-ip", plainAddress(c.RemoteIP)}, {"x-originating-port", decimal(c.RemotePort)},
			{"x-connected-ip", plainAddress(c.LocalIP)}, {"x-connected-port", decimal(c.LocalPort)},
		}
	}
	if u.m.Hops > 0 {
		known = append(known, idField{hopsField, strconv.Itoa(u.m.Hops)})
	}
	fields := ""
	for _, f := range known {
		if f.value != "" {
			fields += " " + quote(f.name) + " " + quote(f.value)
		}
	}
	if fields == "" {
		return nil
	}
	const tag = "I1"
	if err := u.send(tag + " ID (" + fields[1:] + ")" + crlf); err != nil {
		return err
	}
	// A mailhost that has no ID answers BAD or NO; the login does not depend on it.
	_, err := u.tagged(tag)
	return err
}

// plainAddress writes an address without the ::ffff: of the launcher's IPv4; "" when it is none.
func plainAddress(text string) string {
	addr, err := netip.ParseAddr(text)
	if err != nil {
		return ""
	}
	return addr.Unmap().WithZone("").String()
}

// decimal returns a port number as it is; "" when it is none.
func decimal(text string) string {
	if text == "" || len(text) > 5 || strings.Trim(text, "0123456789") != "" {
		return ""
	}
	return text
}
