package frontend

import (
	"context"
	"errors"

	"mailproxy/internal/launch"
	"mailproxy/internal/local"
	"mailproxy/internal/login"
	"mailproxy/relay"
)

// relaySession is what a Carrier is given. info holds the account's address and the mailhost, and the
// protocol where there is to be a LOGOUT line.
func (c *Conn) relaySession(mailhost launch.Conn, info relay.Info) *relay.Session {
	info.RemoteIP, info.RemotePort, info.Start = c.Peer.RemoteIP, c.Peer.RemotePort, c.server.System.Now()
	return &relay.Session{
		Client: c.Client, Mailhost: mailhost, Info: info,
		KeepAlive: c.Config.Keepalive, HalfClose: c.Config.HalfClosed,
	}
}

// relay has a Carrier tell the client the mailhost's answer, that it is logged in, and join the two. It
// returns when the Carrier has the session. Errors: login.ErrTemporary and login.ErrEnd as from
// Session.Login, when the client has been told nothing and its connection is as it was; ErrEndSession. The
// mailhost's connection is not the caller's any more in any case.
func (c *Conn) relay(ctx context.Context, o *login.Outcome) error {
	session := c.relaySession(o.Mailhost.Conn, relay.Info{User: o.Account.Address, Mailhost: o.Mailhost.Host})
	session.First = o.Mailhost.Answer
	if !o.Mailhost.Local { // there the local server writes its own lines
		session.Info.Protocol = c.server.Protocol.Name
		session.Accepted = func() { c.LogLogin(o.Account.Address) }
	}
	err := c.carry(ctx, session)
	if err == nil {
		return nil
	}
	o.Mailhost.Conn.Close()
	if errors.Is(err, relay.ErrLimit) {
		c.LogRelayLimit(o.Account.Address, err)
	} else {
		c.logCarry(err)
	}
	if errors.Is(err, local.ErrChanged) {
		return ErrEndSession
	}
	return c.Refuse(ctx, login.ErrTemporary)
}

// logCarry says why a session is not carried.
func (c *Conn) logCarry(err error) {
	if _, ok := errors.AsType[*dropRootError](err); ok {
		c.LogDropRoot(err)
		return
	}
	c.LogCarry(err)
}

// carry gives a session to relayd or, with root rights given up, to the engine in this process, by a pump
// where one of its connections has to stay in this process. After an error the session is still ours, and the
// client has been told nothing.
func (c *Conn) carry(ctx context.Context, session *relay.Session) error {
	c.ReleaseUnauth() // in time: where the session is taken, the client's next connection may come at once
	c.release()
	err := c.server.Pumps.Carry(session, func(s *relay.Session) error {
		err := c.carryThere(ctx, s)
		switch {
		case err == nil && s != session: // this process stays, to serve a client
			return c.dropRoot()
		case err == nil, errors.Is(err, relay.ErrLimit):
			return err
		}
		return c.carryHere(ctx, s)
	})
	if err != nil {
		c.retain()
		return err
	}
	c.carried = true
	return nil
}

// errNoRelayd says that there is no relayd to ask.
var errNoRelayd = errors.New("no relayd")

// carryThere gives the session to relayd, with the rights that the launcher gave, by which relayd knows a
// front end. Where relayd takes it this process only ends: to give up root in every thread would be a
// twentieth of its work.
func (c *Conn) carryThere(ctx context.Context, session *relay.Session) error {
	relayd := c.server.Relayd
	if relayd == nil || !relayd.Available() {
		return errNoRelayd
	}
	if session.Info.Protocol != "" {
		session.Info.Login = c.ReportSoFar()
	}
	err := relayd.Carry(ctx, session)
	switch {
	case err == nil, errors.Is(err, relay.ErrLimit):
		c.MarkReported()
	default:
		c.LogRelayd(err)
	}
	return err
}

// carryHere gives the session to the engine.
func (c *Conn) carryHere(ctx context.Context, session *relay.Session) error {
	mailhost := session.Info.Mailhost
	report := session.Info.Protocol != ""
	if report && c.server.DropRoot != nil { // while relayd still knows this process by its rights
		c.Report(relay.LoginOK, mailhost)
	}
	if err := c.dropRoot(); err != nil {
		return err
	}
	err := c.carryByEngine(ctx, session)
	switch {
	case !report:
	case err == nil:
		c.Report(relay.LoginOK, mailhost)
	case errors.Is(err, relay.ErrLimit):
		c.Report(relay.LoginLimit, mailhost)
	default:
		c.Report(relay.LoginTemporary, mailhost)
	}
	return err
}

func (c *Conn) carryByEngine(ctx context.Context, session *relay.Session) error {
	if c.server.Engine == nil {
		return relay.ErrUnavailable
	}
	carrier, err := c.server.Engine()
	if err != nil {
		return err
	}
	return carrier.Carry(ctx, session)
}

// dropRoot gives up root rights, and what only root may have open.
func (c *Conn) dropRoot() error {
	c.CloseThrottle()
	if c.server.DropRoot == nil {
		return nil
	}
	if err := c.server.DropRoot(c.Config.RelayUser); err != nil {
		return &dropRootError{err}
	}
	return nil
}

// dropRootError says that root rights could not be given up.
type dropRootError struct{ error }

// Unwrap returns the cause.
func (e *dropRootError) Unwrap() error { return e.error }
