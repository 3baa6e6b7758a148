package login

import (
	"context"
	"errors"

	"mailproxy/authlib"
	"mailproxy/internal/mailhost"
)

// reachLocal logs in at PROXY_LOCAL, for an account that is here: with the account's own name and password,
// whatever PROXY_MASTER_USER says, since the program there asks the same account database. Its errors are
// those of reach.
func (s *Session) reachLocal(
	ctx context.Context, c *Credentials, account *authlib.Account,
) (*mailhost.Conn, error) {
	at := s.service.Local
	m := s.newConn(c)
	m.Host, m.Addr, m.Path, m.Local, m.ClientTLS = "local", at.String(), at.Path, true, s.TLS
	m.User, m.Password = account.Address, account.ClearPassword
	if c.Type == authlib.AuthLogin {
		m.User, m.Password = c.User, c.Password
	}
	if err := s.sendable(m, account); err != nil {
		return nil, err
	}
	if at.Path == "" && s.isOurselves(at.Addr) {
		s.LogLocal(account.Address, errLocalIsUs)
		return nil, ErrTemporary
	}
	if err := s.service.Mailhosts.LogIn(ctx, m, at.Addr, s.service.Protocol.Login); err != nil {
		return nil, s.classifyFailure(ctx, m, err)
	}
	s.logConnected(m)
	return m, nil
}

// errLocalIsUs says that PROXY_LOCAL would come back here, again and again.
var errLocalIsUs = errors.New("PROXY_LOCAL is the address and port that the client is connected to")
