// Package resident runs a front end that serves every connection of its listening sockets in one process, a
// goroutine for each: the same dialogue, files and log lines as with a process for each connection, at a
// fraction of the cost. It runs as an ordinary user. Sessions go to relayd, or to the engine in this process.
//
// It deliberately starts no program for an account: accounts that are here are sent to a listener on this
// machine that serves one connection a process (PROXY_LOCAL), or refused. The programs that it does start are
// AUTHDAEMON_PROGRAM and, at a reload, its own successor.
package resident

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"time"

	"mailproxy/internal/config"
	"mailproxy/internal/frontend"
	"mailproxy/internal/identity"
	"mailproxy/internal/launch"
	"mailproxy/internal/limits"
	"mailproxy/internal/local"
	"mailproxy/internal/mailhost"
	"mailproxy/internal/maillog"
	"mailproxy/internal/successor"
	"mailproxy/internal/throttle"
	"mailproxy/internal/tlsconf"
	"mailproxy/relay"
	"mailproxy/relay/engine"
	"mailproxy/relay/pump"
)

// Options are what the program was started with.
type Options struct {
	Program *frontend.Program
	Sockets *launch.Sockets
	// Configs are the files of settings.
	Configs []string
	// Args are the program's arguments, without its name, for a successor.
	Args []string
	// User is who the process becomes when it was started as root; empty = PROXY_USER of the environment, or
	// the first of local.DropRoot's.
	User string
	// Stderr is for programs that are started (AUTHDAEMON_PROGRAM).
	Stderr *os.File
	// Linger is how long a process that was replaced keeps the sessions that could not be passed on.
	Linger time.Duration
	// Idle is how long a process that an inetd waits for stays without a connection and a session.
	Idle time.Duration
}

func (o *Options) user() string {
	return cmp.Or(o.User, config.Environment(o.Sockets.Environ).Get("PROXY_USER"))
}

// Run serves until SIGTERM or SIGINT, or until SIGHUP has put another process into this one's place, and
// returns the exit status.
func Run(ctx context.Context, o Options) int {
	log, closeLog := o.Sockets.Log.Queue() // a journal that is stuck must not stop everybody
	defer closeLog()
	o.Sockets.Log = log
	signal.Ignore(syscall.SIGPIPE) // sessions outlive the reader of the log
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	defer signal.Stop(signals)
	s, err := start(o)
	if err == nil && o.Sockets.Inherited != nil {
		err = s.takeOver(ctx, o.Sockets.Inherited)
	}
	if err == nil {
		err = s.run(ctx, signals)
	}
	if err == nil {
		return 0
	}
	for text := range strings.SplitSeq(err.Error(), "\n") {
		o.Sockets.Log.Critf("%s", text)
	}
	return 1
}

// service is a resident front end.
type service struct {
	log     *maillog.Log
	sockets *launch.Sockets
	// server is for connections as the settings say, overTLS for those that begin with TLS in any case.
	server, overTLS *frontend.Server
	engine          *engine.Engine
	carrier         *carrier
	pumps           pump.Pumps
	conns           *connections
	refuser         *refuser
	failures        *throttle.Memory
	health          *mailhost.Health
	certificates    *tlsconf.Memory
	statistics      *statistics
	predecessors    *predecessors
	parts           []*successor.Part // that stand still while another process takes over
	failed          chan error        // that end the service
	reserve         successor.Reserve
	takenOver       *int // sessions; nil: there was no process before this one

	// What a successor is started with.
	program string
	args    []string

	linger, idle time.Duration
}

// start makes a service. The process is an ordinary user's from then on, as it is before anything but the
// sockets is opened.
func start(o Options) (*service, error) {
	root := os.Geteuid() == 0
	if err := local.DropRootAtStart(o.user()); err != nil {
		return nil, fmt.Errorf("-user, or PROXY_USER of the environment: %w", err)
	}
	if os.Geteuid() == 0 {
		return nil, errors.New("a program that serves all connections does not run as root")
	}
	if err := identity.NoCore(); err != nil {
		o.Sockets.Log.Warnf("passwords may end up in core files: %v", err)
	}
	if err := readable(o.Configs...); err != nil {
		return nil, err
	}
	c, err := config.Load(o.Configs, o.Sockets.Environ, config.Protocol(o.Program.Protocol.Name))
	if err != nil {
		return nil, err
	}
	if root && o.user() == "" && c.RelayUser != "" {
		o.Sockets.Log.Warnf("PROXY_USER=%s of a -config file has come too late, files are read as the user: "+
			"-user %s, or the environment, tells it in time", c.RelayUser, c.RelayUser)
	}
	if err := checkFiles(c, anyTLS(o.Sockets)); err != nil {
		return nil, err
	}
	s := &service{
		log: o.Sockets.Log, sockets: o.Sockets, failed: make(chan error, 1),
		failures:     throttle.NewMemory(time.Now),
		certificates: &tlsconf.Memory{}, statistics: newStatistics(),
		args: o.Args, linger: o.Linger, idle: o.Idle,
	}
	s.reserve.Fill() // before there are sessions, which may take all that is left
	// By now: the file may be replaced by another version, which is then started under this name.
	if s.program, err = os.Executable(); err != nil {
		return nil, err
	}
	logins, sessions := limits.Capacity(c.Limits.Unauth)
	if logins < c.Limits.Unauth {
		s.log.Warnf("MAXUNAUTH=%d: there are file descriptors for %d (LimitNOFILE=, ulimit -n)",
			c.Limits.Unauth, logins)
	}
	s.conns = newConnections(logins)
	s.refuser = newRefuser(logins, o.Program.Protocol.Unavailable, s.log)
	loops := runtime.GOMAXPROCS(0)
	s.engine, err = engine.New(engine.Config{
		Loops: loops, Shared: true, Log: s.log.Line, Ended: s.ended,
		Limits: engine.Limits{
			Sessions: c.Limits.Sessions, PerAddress: c.Limits.SessionsPerIP,
			PerUser: c.Limits.SessionsPerUser, Capacity: sessions,
		},
	})
	if err != nil {
		return nil, err
	}
	s.carrier = newCarrier(s.engine)
	s.pumps.Most, s.pumps.Log = sessions, s.log.Line
	options := s.options(o, c, loops)
	if s.server, err = frontend.New(options); err != nil {
		return nil, err
	}
	options.Config = c.OverTLS()
	if s.overTLS, err = frontend.New(options); err != nil {
		return nil, err
	}
	var before []*net.UnixConn
	if o.Sockets.Inherited != nil {
		before = o.Sockets.Inherited.Predecessors
	}
	s.predecessors = newPredecessors(s.log, s.engine, before)
	return s, nil
}

// options are those of the front ends, whose connections all share what the service has.
func (s *service) options(o Options, c *config.Config, loops int) frontend.Options {
	auth, relayd := frontend.NewAuth(c, o.Stderr), frontend.NewRelayd(c)
	auth.Keep, relayd.Keep = authConnections, relaydConnections
	s.health = newHealth(c, s.log)
	options := frontend.Options{
		Protocol: o.Program.Protocol,
		Config:   c,
		Log:      s.log,
		Auth:     auth,
		Engine:   func() (relay.Carrier, error) { return s.carrier, nil },
		TLS:      countedTLS{newHandshakes(c, s.certificates, loops), s.statistics.set},
		Health:   s.health,
		Pumps:    &s.pumps,
		Relayd:   handOvers{relayd, s.statistics.set},
		Reports:  reports{relayd, s.statistics.logins},
	}
	s.limitAddresses(&options, c)
	return options
}

// Connections that are kept: to relayd for hand-overs, to authdaemond for questions.
const (
	relaydConnections = 4
	authConnections   = 16
)

// ended logs a session that did not end in order.
func (s *service) ended(info relay.Info, _ relay.Stats, err error) {
	s.conns.touch()
	if err != nil {
		frontend.LogBroken(s.log, info, err)
	}
}
