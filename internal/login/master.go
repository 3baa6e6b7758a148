package login

import (
	"context"
	"errors"

	"mailproxy/authlib"
	"mailproxy/internal/config"
	"mailproxy/internal/launch"
	"mailproxy/internal/mailhost"
)

// LogInAsMaster logs in as PROXY_MASTER_USER on behalf of an account, over a connection that
// Mailhosts.Connect has made: a single step of Login, for a program that explains logins.
func (s *Service) LogInAsMaster(ctx context.Context, m *mailhost.Conn, account *authlib.Account) error {
	o, err := s.AccountOptions(account)
	switch {
	case err != nil:
		return err
	case o.Verifier == config.VerifierMailhost:
		return errors.New("the master user may not log in for an account whose mailhost verifies the password")
	}
	t, err := s.NewSession(launch.Peer{}, nil, m.Log).template(&Credentials{}, account, o, "check")
	if err != nil {
		return err
	}
	m.Tag, m.User, m.Password, m.Authzid = t.Tag, t.User, t.Password, t.Authzid
	return s.Protocol.Login(ctx, m)
}
