// authdaemond answers which users may log in, from Courier's account databases and over Courier's authdaemon
// protocol. It runs as a resident daemon on a unix socket, or for one request on its standard input.
//
//	authdaemond [-config DIRECTORY] [-user NAME] [-allow NAME,@GROUP,...]      resident
//	authdaemond -once [-config DIRECTORY]             one request on standard input, a socket
//	authdaemond [-config DIRECTORY] test [-s SERVICE] USER [PASSWORD [NEWPASSWORD]]
//	authdaemond [-config DIRECTORY] enumerate [-o]
//
// SIGHUP reads authdaemonrc again, SIGTERM stops accepting and ends when the requests under way are answered.
// Exit status: 0; 1 for a refused test; 100 wrong usage; 111 failure of the system or of a database.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"time"

	"mailproxy/internal/identity"
	"mailproxy/internal/maillog"
	"mailproxy/internal/metrics"
	"mailproxy/internal/systemd"
	"mailproxy/internal/version"
)

const usage = `usage: authdaemond [-config DIRECTORY] [-user NAME] [-allow NAME,@GROUP,...]
       authdaemond -once [-config DIRECTORY]
       authdaemond [-config DIRECTORY] test [-s SERVICE] USER [PASSWORD [NEWPASSWORD]]
       authdaemond [-config DIRECTORY] enumerate [-o]
`

// Exit statuses.
const (
	exitOK      = 0
	exitRefused = 1
	exitUsage   = 100
	exitFailure = 111
)

// How long after SIGTERM requests under way are waited for, and after which time the program ends in any
// case.
const (
	drainTime = 4 * time.Second
	stopTime  = 4800 * time.Millisecond
)

// Where the files are unless the command line says: where Courier has them, or else this project.
var directories = []string{"/etc/courier", "/etc/mailproxy"}

// Who the daemon becomes.
const (
	courierUser = "courier"
	ownUser     = "mailproxy-auth"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	// Whatever it does: nobody waits longer than that.
	context.AfterFunc(ctx, func() { time.AfterFunc(stopTime, func() { os.Exit(exitFailure) }) })
	reload := make(chan os.Signal, 1)
	signal.Notify(reload, syscall.SIGHUP)
	p := &program{
		getenv: os.Getenv,
		stdin:  os.Stdin,
		stdout: os.Stdout,
		stderr: os.Stderr,
		log:    maillog.Open(os.Stderr, "authdaemond", os.Getenv("JOURNAL_STREAM")),
		reload: reload,
		now:    time.Now,
	}
	status := p.run(ctx, os.Args[1:])
	stop()
	os.Exit(status)
}

// program is what main gets from outside.
type program struct {
	getenv         func(string) string
	stdin          *os.File
	stdout, stderr io.Writer
	reload         <-chan os.Signal
	now            func() time.Time

	// from the command line
	directory string
	user      *string // nil = not given
	allow     string
	log       *maillog.Log
}

// run is the program; it returns the exit status.
func (p *program) run(ctx context.Context, args []string) int {
	if p.log == nil {
		p.log = maillog.NewLog(p.stderr)
	}
	flags := flag.NewFlagSet("authdaemond", flag.ContinueOnError)
	flags.SetOutput(p.stderr)
	flags.Usage = func() {
		fmt.Fprint(p.stderr, usage)
		flags.PrintDefaults()
	}
	flags.StringVar(&p.directory, "config", "",
		"`directory` of authdaemonrc, the auth*rc files and userdb (default: the first of "+
			strings.Join(directories, ", ")+" that is there)")
	flags.Func("user",
		"system `user` to become when started as root, if the files let it; empty = stay root (default: "+ownUser+
			", or "+courierUser+" where Courier's programs ask)",
		func(name string) error { p.user = &name; return nil })
	flags.StringVar(&p.allow, "allow", "",
		"`users` and @groups that are answered, besides root and the daemon's own user")
	once := flags.Bool("once", false, "answer one request on standard input, which is a socket, and end")
	show := flags.Bool("version", false, "print the version and end")
	if err := flags.Parse(args); err != nil {
		return exitUsage
	}
	if *show {
		fmt.Fprintln(p.stdout, "authdaemond", version.Version)
		return exitOK
	}
	p.noCore()
	if p.directory == "" {
		p.directory = firstDirectory(directories)
	}
	s, err := readRC(p.directory)
	if err != nil {
		p.log.Errf("%v", err)
		return exitFailure
	}
	for _, w := range s.warnings {
		p.log.Warnf("%s", w)
	}
	switch {
	case *once && flags.NArg() == 0:
		return p.once(ctx, s)
	case flags.NArg() == 0:
		return p.resident(ctx, s)
	case flags.Arg(0) == "test" && !*once:
		return p.test(ctx, s, flags.Args()[1:])
	case flags.Arg(0) == "enumerate" && !*once:
		return p.enumerate(ctx, s, flags.Args()[1:])
	}
	p.log.Errf("wrong usage: %q; see authdaemond -help", flags.Args())
	return exitUsage
}

// noCore keeps passwords out of core files, and away from debuggers of the same user.
func (p *program) noCore() {
	if err := identity.NoCore(); err != nil {
		p.log.Warnf("passwords may end up in core files: %v", err)
	}
}

// setup is what the modules get.
func (p *program) setup(s *settings, oneShot bool) setup {
	return setup{directory: p.directory, oneShot: oneShot, conns: s.daemons, ldapTLS: s.ldapTLS, log: p.log}
}

// once answers the one request on standard input.
func (p *program) once(ctx context.Context, s *settings) int {
	conn, err := net.FileConn(p.stdin)
	if err != nil {
		p.log.Errf("standard input: %v", err)
		return exitUsage
	}
	defer conn.Close()
	a := newAsker(s, p.setup(s, true), nil, p.now)
	defer a.close(nil)
	if err := serveOnce(ctx, conn, a); err != nil {
		p.log.Debugf("%v", err)
		return exitFailure
	}
	return exitOK
}

// resident serves until ctx ends.
func (p *program) resident(ctx context.Context, s *settings) int {
	signal.Ignore(syscall.SIGPIPE) // logins go on without a reader of the log, and with one that is stuck
	log, closeLog := p.log.Queue()
	defer closeLog()
	p.log = log
	socks := &sockets{where: filepath.Join(s.directory, "socket")}
	if err := socks.inherit(); err != nil {
		p.log.Errf("%v", err)
		return exitFailure
	}
	id, err := p.identity(socks.courier())
	if err != nil {
		p.log.Errf("-user: %v", err)
		return exitFailure
	}
	if err := socks.listen(s.directory, id); err != nil {
		p.log.Errf("%v", err)
		return exitFailure
	}
	defer socks.close()
	switch err := socks.listenMetrics(s.metrics, id); {
	case errors.Is(err, metrics.ErrPlace):
		p.log.Errf("%v", err)
		return exitFailure
	case err != nil:
		p.log.Errf("no metrics: %v", err) // logins matter more
	}
	if id != nil {
		if file := rootOnly(id, p.directory, s.modules); file != "" {
			p.log.Infof("stays root: user %s cannot read %s", id.Name, file)
		} else if err := become(id); err != nil {
			p.log.Errf("-user %s: %v", id.Name, err)
			return exitFailure
		}
	}
	p.noCore() // the kernel's default comes back with another user (fs.suid_dumpable)
	// The heap is small, and collecting it costs more than a few MiB: 16 may be filled before.
	debug.SetGCPercent(400)
	srv := newServer(newAsker(s, p.setup(s, false), nil, p.now))
	srv.hashes.remember(s.verifyTTL)
	// As many slow hashes are computed as there are processors: one thread more, and a cheap request is the
	// kernel's to run at once, not Go's to run when one of them has had its time.
	runtime.GOMAXPROCS(cap(srv.hashes.processors) + 1)
	if srv.allowed, err = socks.allowed(p.allow); err != nil {
		p.log.Errf("%v", err)
		return exitUsage
	}
	p.log.Infof("authdaemond %s: modules=%q, daemons=%d, socket %s",
		version.Version, s.modules, s.daemons, socks.where)
	if socks.scraper != nil {
		go srv.serveMetrics(ctx, socks.scraper)
	}
	return p.serve(ctx, srv, socks)
}

// identity returns the user to become, or nil to stay what we are. Unless -user names one, it is Courier's
// where Courier's programs ask, else our own, and the other one where there is no such user.
func (p *program) identity(courier bool) (*identity.User, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	if p.user != nil {
		if *p.user == "" || *p.user == "root" {
			return nil, nil
		}
		return identity.Ordinary(*p.user)
	}
	if courier {
		return identity.Ordinary(courierUser, ownUser)
	}
	return identity.Ordinary(ownUser, courierUser)
}

// firstDirectory returns the first directory that is there, or the first.
func firstDirectory(directories []string) string {
	for _, f := range directories {
		if info, err := os.Stat(f); err == nil && info.IsDir() {
			return f
		}
	}
	return directories[0]
}

// serve serves the sockets, reloads when told to, and drains at the end.
func (p *program) serve(ctx context.Context, srv *server, socks *sockets) int {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	listeners := slices.Concat(socks.clients, socks.persistent)
	failed := make(chan error, len(listeners))
	for _, l := range socks.clients {
		go func() { failed <- srv.serve(ctx, l) }()
	}
	for _, l := range socks.persistent {
		go func() { failed <- srv.servePersistent(ctx, l) }()
	}
	if err := systemd.Notify("READY=1"); err != nil {
		p.log.Warnf("NOTIFY_SOCKET: %v", err)
	}
	status := exitOK
	for running := true; running; {
		select {
		case <-p.reload:
			p.reread(srv)
		case err := <-failed:
			if err != nil {
				p.log.Errf("%v", err)
				status = exitFailure
			}
			running = false
		case <-ctx.Done():
			p.log.Infof("authdaemond ends: %v", context.Cause(ctx))
			running = false
		}
	}
	_ = systemd.Notify("STOPPING=1")
	cancel()
	for _, l := range listeners {
		l.Close()
	}
	drain, cancelDrain := context.WithTimeout(context.Background(), drainTime)
	defer cancelDrain()
	if err := srv.drain(drain); err != nil {
		p.log.Warnf("ends with requests unanswered: %v", err)
		status = exitFailure
	}
	srv.hold().close(nil)
	return status
}

// reread reads authdaemonrc again; one that cannot be used changes nothing.
func (p *program) reread(srv *server) {
	_ = systemd.Reloading()
	defer func() { _ = systemd.Notify("READY=1") }()
	srv.hashes.forget()
	s, err := readRC(p.directory)
	srv.reloadFailed.Store(err != nil)
	if err != nil {
		p.log.Errf("the settings stay as they were: %v", err)
		return
	}
	for _, w := range s.warnings {
		p.log.Warnf("%s", w)
	}
	g := srv.hold()
	a := newAsker(s, p.setup(s, false), g.asker, p.now)
	g.users.Done()
	srv.use(a)
	srv.hashes.remember(s.verifyTTL)
	p.log.Infof("read again: modules=%q, daemons=%d", s.modules, s.daemons)
}
