package login

import (
	"context"

	"mailproxy/authlib"
	"mailproxy/internal/launch"
	"mailproxy/internal/mailhost"
)

// LogInAsMaster logs in as PROXY_MASTER_USER on behalf of an account, over a connection that
// Mailhosts.Connect has made: a single step of Login, for a program that explains logins.
func (s *Service) LogInAsMaster(ctx context.Context, m *mailhost.Conn, account *authlib.Account) error {
	t, err := s.NewSession(launch.Peer{}, nil, m.Log).template(&Credentials{}, account, "check")
	if err != nil {
		return err
	}
	m.Tag, m.User, m.Password, m.Authzid = t.Tag, t.User, t.Password, t.Authzid
	return s.Protocol.Login(ctx, m)
}
