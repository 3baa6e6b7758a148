package frontend

import (
	"context"
	"net/netip"

	"mailproxy/authlib"
)

// The methods below show single steps of Login, for a program that explains them.

// LoginName returns the name that the auth module is asked for when a client says user.
func (s *Conn) LoginName(user string) string { return loginName(s.Config, user) }

// AuthProgram is the authdaemond that is started where nobody listens; empty where there is none.
func (s *Conn) AuthProgram() string { return authProgram(s.Config) }

// IsHere says whether a mailhost is this host.
func (s *Conn) IsHere(host Host) (bool, error) { return s.isHere(host) }

// Addresses returns the addresses of a mailhost, in the order in which they are tried.
func (s *Conn) Addresses(ctx context.Context, host Host) ([]netip.AddrPort, error) {
	return s.resolve(ctx, host)
}

// Connect connects to one address of m.Host as Login does: with a PROXY header and TLS where the settings
// want them. m.StartTLS is set when STARTTLS or STLS is still to come. The caller closes m.Conn and sets its
// deadlines.
func (s *Conn) Connect(ctx context.Context, m *Mailhost, addr netip.AddrPort) error {
	conn, err := s.dial(ctx, addr)
	if err != nil {
		return err
	}
	m.Conn = conn
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(past()) })
	defer stop()
	if err = s.announce(m); err == nil {
		err = s.encryptMailhost(ctx, m)
	}
	if err != nil {
		conn.Close()
	}
	return err
}

// LogInAsMaster logs in as PROXY_MASTER_USER on behalf of an account, over a connection that Connect has
// made.
func (s *Conn) LogInAsMaster(ctx context.Context, m *Mailhost, account *authlib.Account) error {
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
