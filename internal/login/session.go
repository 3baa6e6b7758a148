package login

import (
	"net"
	"net/netip"
	"time"

	"mailproxy/authlib/sasl"
	"mailproxy/internal/config"
	"mailproxy/internal/launch"
	"mailproxy/internal/mailhost"
	"mailproxy/internal/maillog"
	"mailproxy/internal/throttle"
)

// Session is what is known of one client while it logs in. It belongs to the goroutine that serves the
// client.
type Session struct {
	// Config is the service's.
	Config *config.Config
	// Peer is who is at the other end of the client's connection.
	Peer launch.Peer
	// HealthCheck says that a load balancer has connected for itself, without a client. It takes no slot
	// among the connections of its address, and its LOGOUT or QUIT is logged only as DEBUG.
	HealthCheck bool
	// TLS says that the connection is encrypted, by us or by somebody in front of us.
	TLS bool
	// Log is the program's, with a limit until the client has logged in.
	Log *maillog.Log
	// Started is when the connection came in; the time limit for the login counts from it.
	Started time.Time
	// Gone says whether the client has closed the connection; nil = that cannot be seen.
	Gone func() bool
	// Bindings are the channel bindings of the connection as it is; nil = it has none.
	Bindings func() []sasl.Binding

	service *Service
	own     netip.AddrPort // our end of the connection; zero where that is no TCP address

	throttleFile *throttle.Table // opened when first needed
	noThrottle   bool            // it cannot be used, which is logged
	release      func() error    // undoes AcquireUnauth; nil when there is nothing to undo
	released     bool            // it was undone

	attempt  attempt       // the login under way
	commands int           // that the client has said
	held     time.Duration // that its logins were held
	hops     mailhost.Hops // proxies that the session has come through
}

// NewSession makes a Session for a connection that has just come in. own is our end of it, and nil where
// there is no connection.
func (s *Service) NewSession(peer launch.Peer, own net.Addr, log *maillog.Log) *Session {
	session := &Session{Config: s.Config, Peer: peer, Started: s.System.Now(), service: s}
	if tcp, ok := own.(*net.TCPAddr); ok {
		session.own = plain(tcp.AddrPort())
	}
	session.limitLog(log)
	return session
}

// Deadline is when the client must have logged in. The time that its login is held does not count.
func (s *Session) Deadline() time.Time { return s.Started.Add(s.Config.LoginTimeout + s.held) }

// LimitHops takes the number of proxies that may still come from one in front of us, see mailhost.Hops.
func (s *Session) LimitHops(text string) { s.hops.Limit(text) }
