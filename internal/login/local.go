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
	ctx context.Context, c *Credentials, account *authlib.Account, tag string,
) (*mailhost.Conn, error) {
	addr := s.service.Local
	m := &mailhost.Conn{
		Host: "local", Addr: addr.String(), Local: true, ClientTLS: s.TLS,
		Tag: tag, Client: s.Peer, UTF8: c.UTF8, Offered: c.Offered, ID: c.ID,
		User: account.Address, Password: account.ClearPassword,
		Config: s.Config, Log: s.Log,
	}
	if c.Type == authlib.AuthLogin {
		m.User, m.Password = c.User, c.Password
	}
	if err := s.sendable(m, account); err != nil {
		return nil, err
	}
	if s.isOurselves(addr) {
		s.LogLocal(account.Address, errLocalIsUs)
		return nil, ErrTemporary
	}
	if err := s.service.Mailhosts.LogIn(ctx, m, addr, s.service.Protocol.Login); err != nil {
		return nil, s.classifyFailure(ctx, m, err)
	}
	s.logConnected(m)
	return m, nil
}

// errLocalIsUs says that PROXY_LOCAL would come back here, again and again.
var errLocalIsUs = errors.New("PROXY_LOCAL is the address and port that the client is connected to")
