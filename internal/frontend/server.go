// Package frontend is the order of things for one connection, and what the IMAP and the POP3 dialogue have
// in common: it takes the header of a balancer off the connection, makes the TLS handshake, has the dialogue
// hold its time limits, and gives a session that has logged in to a Carrier or to the local server. The login
// itself, and the log lines, are package login's.
//
// A Server is made once from settings; it serves any number of connections, each of which is a Conn. The
// dialogues own the words that the client reads. Nothing of the process is touched here but through
// Options.Local, DropRoot and Engine.
package frontend

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"syscall"

	"mailproxy/internal/config"
	"mailproxy/internal/guard"
	"mailproxy/internal/launch"
	"mailproxy/internal/local"
	"mailproxy/internal/login"
	"mailproxy/internal/mailhost"
	"mailproxy/internal/maillog"
	"mailproxy/relay"
	"mailproxy/relay/pump"
)

// Options are what a Server is made of. Protocol, Config, Log and Auth are required.
type Options struct {
	Protocol *Protocol
	Config   *config.Config
	Log      *maillog.Log
	// Auth answers for accounts; see NewAuth.
	Auth login.AuthModule
	// Args are the local server and the default maildir; not needed where Local is nil.
	Args []string
	// TLS makes the handshakes with clients; nil = FileTLS without a memory.
	TLS TLS
	// Throttle remembers failed logins; nil = THROTTLE_FILE, which each connection opens when it needs it and
	// closes before DropRoot. It is asked where the settings want it: THROTTLE_FILE, MAXUNAUTHPERIP.
	Throttle login.Throttle
	// TooMany is told of each client that MAXUNAUTHPERIP turns away; nil = a log line for each.
	TooMany func(remoteIP string)
	// Relayd is asked to carry a session first; nil = nobody.
	Relayd Relayd
	// Reports are told of logins that Relayd is given no session of; nil = Relayd.
	Reports login.Reports
	// Engine returns what carries a session that Relayd does not take. It is called after DropRoot.
	Engine func() (relay.Carrier, error)
	// Pumps serve connections that no other process could go on with; nil = those of a process that waits for
	// none.
	Pumps *pump.Pumps
	// DropRoot gives up root rights for a session that goes on in this process; nil = there are none to give
	// up.
	DropRoot func(user string) error
	// Local serves accounts that are here; nil = they are refused.
	Local Local
	// Health gives out the slots among the logins at mailhosts, see mailhost.Dialer. All servers of a process
	// have the same one; nil = there is always a slot.
	Health *mailhost.Health
	// System is the world around; nil = realSystem.
	System *System
}

// Local runs the local server of an account. Package local has the one of a process that serves a single
// connection; its methods change the process.
type Local interface {
	// Exec becomes the local server on conn. It returns only when that failed, see local.Process.
	Exec(conn launch.Conn, l *local.Server) error
	// Start runs the local server beside us, see local.Start: for sessions over our own TLS.
	Start(stdio syscall.Conn, l *local.Server) (*os.Process, error)
}

// Relayd is the client of relayd: handoff.Client.
type Relayd interface {
	relay.Carrier
	login.Reports
}

// Server serves connections. It is made once from settings and does not change: nothing of one connection is
// stored in it, and but for Options.Local, DropRoot and Engine nothing of the process is touched by it. Its
// methods may be called by any number of goroutines.
type Server struct {
	Options
	// Login takes clients to accounts.
	Login *login.Service
}

// New makes a Server.
func New(o Options) (*Server, error) {
	switch {
	case o.Protocol == nil, o.Config == nil, o.Log == nil, o.Auth == nil:
		return nil, errors.New("a front end needs a protocol, settings, a log and an auth module")
	case o.Local != nil && len(o.Args) != 2:
		return nil, errors.New("a front end with local accounts needs the local server and a maildir")
	}
	if o.TLS == nil {
		o.TLS = FileTLS{Settings: o.Config.TLS}
	}
	if o.System == nil {
		o.System = realSystem()
	}
	if o.Pumps == nil {
		o.Pumps = &pump.Pumps{Log: o.Log.Line}
	}
	if o.Reports == nil && o.Relayd != nil {
		o.Reports = o.Relayd
	}
	system := o.System
	mailhosts := &mailhost.Dialer{
		Config: o.Config, Port: o.Protocol.Port, TLSPort: o.Protocol.TLSPort, Health: o.Health,
		Lookup: func(ctx context.Context, host string) ([]netip.Addr, error) { return system.resolve(ctx, host) },
		Dial:   func(ctx context.Context, addr netip.AddrPort) (net.Conn, error) { return system.Dial(ctx, addr) },
	}
	service := &login.Service{
		Protocol: &o.Protocol.Protocol, Config: o.Config, Auth: o.Auth, Throttle: o.Throttle, TooMany: o.TooMany,
		Reports:   o.Reports,
		Mailhosts: mailhosts, System: &system.System,
	}
	if o.Local == nil {
		service.Local = o.Config.Local
	}
	return &Server{o, service}, nil
}

// ServeConn serves one connection from its first byte until the client has left, or until a Carrier has taken
// its session; it may then go on long after ServeConn has returned. In any other case the connection is
// closed. peer is who the launcher or the socket says is at the other end. The end of ctx (SIGTERM, SIGHUP)
// ends the wait for the client, which is told so. A panic ends this connection alone, with its stack in the
// log.
//
// The result is the exit status of a program that serves one connection: 0 after an orderly end and after the
// end of ctx, 1 after a failure.
func (s *Server) ServeConn(ctx context.Context, conn launch.Conn, peer launch.Peer) (status int) {
	c := s.newConn(conn, peer)
	defer func() {
		if !c.carried {
			_ = conn.Close()
		}
	}()
	defer guard.Recover(c.LogPanic, "the connection with "+c.Where(), func() { status = 1 })
	defer c.begin(ctx)()
	if err := c.acceptHeader(); err != nil {
		return failure(ctx)
	}
	if !c.AcquireUnauth() {
		if !c.beginsWithTLS() { // such a client would take clear text for a broken handshake
			c.Farewell(s.Protocol.Unavailable)
		}
		return 1
	}
	defer c.CloseThrottle()
	if err := c.beginTLS(ctx); err != nil {
		return failure(ctx)
	}
	return int(c.serve(ctx))
}

// failure is the exit status after a failure: none when the program was told to stop.
func failure(ctx context.Context) int {
	if ctx.Err() != nil {
		return 0
	}
	return 1
}
