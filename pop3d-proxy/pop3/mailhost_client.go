package pop3

import (
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
func (u *upstream) forwardClient() error {
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
	err := u.send(text)
	if err == nil {
		err = u.response()
	}
	var r *refusal
	if errors.As(err, &r) {
		u.m.Log.Warnf("%s did not take the client's address (XCLIENT): %s", u.m.Host, r)
		return nil
	}
	if connection.HungUp(err) { // it is not logged in to without the client's address
		err = errors.New("mailhost hangs up when it is told the client's address (PROXY_FORWARD_CLIENT)")
	}
	if err != nil {
		return &mailhost.StepError{Step: mailhost.StepForward, Err: err}
	}
	return nil
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
