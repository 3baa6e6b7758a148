package frontend

import (
	"context"

	"mailproxy/authlib"
	"mailproxy/internal/mailhost"
)

// The methods below show single steps of Login, for a program that explains them.

// LoginName returns the name that the auth module is asked for when a client says user.
func (s *Conn) LoginName(user string) string { return loginName(s.Config, user) }

// AuthProgram is the authdaemond that is started where nobody listens; empty where there is none.
func (s *Conn) AuthProgram() string { return authProgram(s.Config) }

// IsHere says whether a mailhost is this host.
func (s *Conn) IsHere(host mailhost.Host) (bool, error) { return s.isHere(host) }

// LogInAsMaster logs in as PROXY_MASTER_USER on behalf of an account, over a connection that
// Mailhosts.Connect has made.
func (s *Conn) LogInAsMaster(ctx context.Context, m *mailhost.Conn, account *authlib.Account) error {
	t, err := s.template(&Credentials{}, account, "check")
	if err != nil {
		return err
	}
	m.Tag, m.User, m.Password, m.Authzid = t.Tag, t.User, t.Password, t.Authzid
	return s.Protocol.Login(ctx, m)
}

// Inspect makes a Conn without a connection: enough for the methods above, for Auth, and for
// Protocol.Capabilities.
func (s *Server) Inspect(tls bool) *Conn {
	return &Conn{Server: s, TLS: tls, Log: s.Options.Log, Started: s.System.Now()}
}
