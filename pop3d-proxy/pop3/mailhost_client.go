package pop3

import (
	"context"
	"errors"
	"strconv"

	"mailproxy/internal/config"
	"mailproxy/internal/connection"
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
	ip, port := mailhost.Endpoint(u.m.Client.RemoteIP, u.m.Client.RemotePort)
	if ip == "" {
		return nil
	}
	text := "XCLIENT ADDR=" + ip
	if port != "" {
		text += " PORT=" + port
	}
	if u.m.Hops > 0 {
		text += " TTL=" + strconv.Itoa(u.m.Hops)
	}
	u.Step = mailhost.StepForward
	r, err := u.command(text)
	switch {
	case connection.HungUp(err): // it is not logged in to without the client's address
		return errors.New("mailhost hangs up when it is told the client's address (PROXY_FORWARD_CLIENT)")
	case err == nil && r.status != statusOK:
		u.m.Log.Warnf("%s did not take the client's address (XCLIENT): %v", u.m.Host, u.accepted(r, nil))
	}
	return err
}
