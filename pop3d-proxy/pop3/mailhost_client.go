package pop3

import (
	"context"
	"errors"
	"net/netip"
	"strconv"

	"mailproxy/internal/config"
	"mailproxy/internal/connection"
	"mailproxy/internal/launch"
	"mailproxy/internal/mailhost"
)

// forwardClient tells the mailhost who the client is when PROXY_FORWARD_CLIENT is XCLIENT (or ID, the same
// idea under its IMAP name): Dovecot's XCLIENT command, which it takes from login_trusted_networks. A
// mailhost that does not believe us is no reason to keep the user out: that is a line in the log.
func (u *upstream) forwardClient(context.Context) error {
	switch u.m.Config.Forward {
	case config.ForwardXCLIENT, config.ForwardID:
	default:
		return nil
	}
	text := xclient(u.m.Client)
	if text == "" {
		return nil
	}
	if u.m.Hops > 0 {
		text += " TTL=" + strconv.Itoa(u.m.Hops)
	}
	u.step = mailhost.StepForward
	r, err := u.command(text)
	switch {
	case connection.HungUp(err): // it is not logged in to without the client's address
		return errors.New("mailhost hangs up when it is told the client's address (PROXY_FORWARD_CLIENT)")
	case err == nil && r.status != statusOK:
		u.m.Log.Warnf("%s did not take the client's address (XCLIENT): %v", u.m.Host, u.accepted(r, nil))
	}
	return err
}

// xclient returns the command for a client, empty when its address is not known. IPv4 addresses go as such,
// not mapped into IPv6.
func xclient(client launch.Peer) string {
	addr, err := netip.ParseAddr(client.RemoteIP)
	if err != nil {
		return ""
	}
	text := "XCLIENT ADDR=" + addr.Unmap().WithZone("").String()
	if port, err := strconv.ParseUint(client.RemotePort, 10, 16); err == nil {
		text += " PORT=" + strconv.FormatUint(port, 10)
	}
	return text
}
