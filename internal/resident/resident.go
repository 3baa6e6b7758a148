// Package resident runs a front end that serves every connection of its listening sockets in one process, a
// goroutine for each: the same dialogue, files and log lines as with a process for each connection, at a
// fraction of the cost. It runs as an ordinary user. Sessions go to relayd, or to the engine in this process.
//
// It deliberately starts no programs: accounts that are here are sent to a listener on this machine that
// serves one connection a process (PROXY_LOCAL), or refused.
package resident

import (
	"cmp"
	"context"
	"errors"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"time"

	"mailproxy/internal/config"
	"mailproxy/internal/frontend"
	"mailproxy/internal/launch"
	"mailproxy/internal/local"
	"mailproxy/internal/maillog"
	"mailproxy/internal/systemd"
	"mailproxy/internal/throttle"
	"mailproxy/relay"
	"mailproxy/relay/engine"
)

// Options are what the program was started with.
type Options struct {
	Program *frontend.Program
	Sockets *launch.Sockets
	// Configs are the files of settings, Environ the environment.
	Configs, Environ []string
	// User is who the process becomes when it was started as root; empty = PROXY_USER of the environment, or
	// the first of local.DropRoot's.
	User string
	// Stderr is for programs that are started (AUTHDAEMON_PROGRAM).
	Stderr *os.File
}

func (o *Options) user() string {
	return cmp.Or(o.User, config.Environment(o.Environ).Get("PROXY_USER"))
}

// stopTime is how long sessions may take to be delivered what is held for them when the process ends.
const stopTime = 2 * time.Second

// Run serves until SIGTERM or SIGINT and returns the exit status.
func Run(ctx context.Context, o Options) int {
	signal.Ignore(syscall.SIGPIPE) // sessions outlive the reader of the log
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	s, err := start(o)
	if err != nil {
		for text := range strings.SplitSeq(err.Error(), "\n") {
			o.Sockets.Log.Critf("%s", text)
		}
		return 1
	}
	_ = systemd.Notify("READY=1")
	err = s.serve(ctx)
	_ = systemd.Notify("STOPPING=1")
	s.stop()
	if err != nil {
		s.log.Critf("%v", err)
		return 1
	}
	return 0
}

// service is a resident front end.
type service struct {
	log     *maillog.Log
	sockets *launch.Sockets
	// server is for connections as the settings say, overTLS for those that begin with TLS in any case.
	server, overTLS *frontend.Server
	engine          *engine.Engine
	conns           connections
	entrance        *entrance
	failures        *throttle.Memory
}

// start makes a service. The process is an ordinary user's from then on, as it is before anything but the
// sockets is opened.
func start(o Options) (*service, error) {
	if err := local.DropRootAtStart(o.user()); err != nil {
		return nil, err
	}
	if os.Geteuid() == 0 {
		return nil, errors.New("a program that serves all connections does not run as root")
	}
	if err := launch.NoCore(); err != nil {
		o.Sockets.Log.Warnf("passwords may end up in core files: %v", err)
	}
	if err := readable(o.Configs...); err != nil {
		return nil, err
	}
	c, err := config.Load(o.Configs, o.Environ, config.Protocol(o.Program.Protocol.Name))
	if err != nil {
		return nil, err
	}
	if err := checkFiles(c, anyTLS(o.Sockets)); err != nil {
		return nil, err
	}
	s := &service{log: o.Sockets.Log, sockets: o.Sockets, failures: throttle.NewMemory()}
	logins, sessions := capacity(c.Limits.Unauth)
	if logins < c.Limits.Unauth {
		s.log.Warnf("MAXUNAUTH=%d: there are file descriptors for %d (LimitNOFILE=, ulimit -n)",
			c.Limits.Unauth, logins)
	}
	s.entrance = newEntrance(logins, o.Program.Protocol.Unavailable+"\r\n", s.log)
	s.engine, err = engine.New(engine.Config{
		Loops: runtime.GOMAXPROCS(0), Log: s.log.Line, Ended: s.ended,
		Limits: engine.Limits{
			Sessions: c.Limits.Sessions, PerAddress: c.Limits.SessionsPerIP,
			PerUser: c.Limits.SessionsPerUser, Capacity: sessions,
		},
	})
	if err != nil {
		return nil, err
	}
	auth := frontend.NewAuth(c, o.Stderr)
	auth.Keep = authConnections
	options := frontend.Options{
		Protocol: o.Program.Protocol, Log: s.log,
		Auth:   auth,
		Engine: func() (relay.Carrier, error) { return s.engine, nil },
		TLS:    newHandshakes(c),
	}
	s.limitAddresses(&options, c)
	relayd := frontend.NewRelayd(c)
	relayd.Keep = relaydConnections
	options.Relayd = relayd
	if s.server, err = newServer(options, c); err == nil {
		s.overTLS, err = newServer(options, c.OverTLS())
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

// Connections that are kept: to relayd for hand-overs, to authdaemond for questions.
const (
	relaydConnections = 4
	authConnections   = 16
)

func newServer(o frontend.Options, c *config.Config) (*frontend.Server, error) {
	o.Config = c
	return frontend.New(o)
}

// stop ends all connections and sessions in order: clients that have not logged in are told, and sessions are
// delivered what is held for them.
func (s *service) stop() {
	s.sockets.Close()
	s.conns.wait(stopTime)
	ctx, cancel := context.WithTimeout(context.Background(), stopTime)
	defer cancel()
	s.engine.Shutdown(ctx)
}

// ended logs a session that did not end in order.
func (s *service) ended(info relay.Info, _ relay.Stats, err error) {
	if err != nil {
		frontend.LogBroken(s.log, info, err)
	}
}
