package pop3

import (
	"errors"
	"net/netip"
	"strconv"

	"mailproxy/internal/config"
	"mailproxy/internal/frontend"
	"mailproxy/internal/launch"
)

// forwardClient tells the mailhost who the client is when PROXY_FORWARD_CLIENT is XCLIENT (or ID, the same
// idea under its IMAP name): Dovecot's XCLIENT command, which it takes from login_trusted_networks. A
// mailhost that does not believe us is no reason to keep the user out: that is a line in the log.
func (h *mailhost) forwardClient() error {
	switch h.m.Config.Forward {
	case config.ForwardXCLIENT, config.ForwardID:
	default:
		return nil
	}
	text := xclient(h.m.Client)
	if text == "" {
		return nil
	}
	if h.m.Hops > 0 {
		text += " TTL=" + strconv.Itoa(h.m.Hops)
	}
	err := h.send(text)
	if err == nil {
		err = h.response()
	}
	var r *refusal
	if errors.As(err, &r) {
		h.m.Log.Warnf("%s did not take the client's address (XCLIENT): %s", h.m.Host, r)
		return nil
	}
	if frontend.HungUp(err) { // it is not logged in to without the client's address
		err = errors.New("mailhost hangs up when it is told the client's address (PROXY_FORWARD_CLIENT)")
	}
	if err != nil {
		return &frontend.StepError{Step: frontend.StepForward, Err: err}
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
