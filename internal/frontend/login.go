package frontend

import (
	"context"
	"errors"

	"mailproxy/authlib/sasl"
	"mailproxy/internal/login"
)

// ErrEndSession says that this process must serve nobody else: it may have become another user, or half of
// it. It is also the error of a home that cannot be entered. The session must end with a temporary failure.
var ErrEndSession = errors.New("the session must end")

// Login checks credentials with package login and, if they are right, gives the session to a Carrier or to
// the local server. The dialogue has to answer a *login.DeniedError, which is logged by then, ErrEndSession
// and sasl.ErrAborted. Any other error ends the session: Done, when the client is served by somebody else,
// one of the connection, or login.ErrEnd. environ is what only this protocol's local server is told, by name.
func (c *Conn) Login(ctx context.Context, credentials *login.Credentials, environ map[string]string) error {
	o, err := c.tryLogin(ctx, credentials)
	switch {
	case err != nil:
	case o.Mailhost == nil:
		err = c.execLocal(ctx, o.Account, environ)
	default:
		err = c.relay(ctx, o)
	}
	if err == nil {
		return Done
	}
	codes := &c.server.Protocol.Codes
	denied, _ := errors.AsType[*login.DeniedError](err)
	switch {
	case errors.Is(err, login.ErrRefused):
		return &login.DeniedError{Code: codes.Wrong}
	case errors.Is(err, login.ErrTemporary):
		return &login.DeniedError{Code: codes.Unavailable}
	case denied != nil && denied.Challenge != "":
		if err := sasl.Explain(saslClient{c}, denied.Challenge); err != nil {
			return err
		}
	}
	return err
}

// tryLogin is login.Session's Login. A login that was held has had time that does not count: the connection's
// deadlines follow.
func (c *Conn) tryLogin(ctx context.Context, credentials *login.Credentials) (*login.Outcome, error) {
	deadline := c.Deadline()
	o, err := c.Session.Login(ctx, credentials)
	if c.Deadline() != deadline {
		c.mu.Lock()
		c.setDeadlines()
		c.mu.Unlock()
	}
	return o, err
}
