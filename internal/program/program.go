// Package program is the common part of the mains of imapd-proxy and pop3d-proxy: the command line, and the
// choice between the two ways to run. A program that was handed a connection serves it and ends; one that was
// handed listening sockets, or told to listen, is resident.
package program

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
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
	"mailproxy/internal/local"
	"mailproxy/internal/resident"
	"mailproxy/internal/spelling"
	"mailproxy/internal/systemd"
	"mailproxy/internal/version"
)

// Run is the whole of a front end's main. args and environ are the process's (args without the program's
// name); the three files become ours, see launch.Open. The result is the exit status: 0 after an orderly
// session or an orderly end, and after a signal before the login; 1 after a failure.
func Run(
	ctx context.Context, p *frontend.Program, args, environ []string, stdin, stdout, stderr *os.File,
) int {
	command, usage := parse(p.Name, args)
	if usage == nil && command.version {
		fmt.Fprintln(stdout, p.Name, version.Version)
		return 0
	}
	request := launch.Request{
		// In syslog the program goes by the name of Courier's service, imapd or pop3d: fail2ban's filters
		// look for it.
		Name: strings.TrimSuffix(p.Name, "-proxy"), Environ: environ, Stdin: stdin, Stdout: stdout, Stderr: stderr,
		Passed: systemd.Files(),
	}
	sockets, err := launch.Listen(ctx, request, command.listen)
	if sockets == nil {
		return serveOne(ctx, p, request, command, usage)
	}
	defer sockets.Close()
	if err == nil && usage == nil {
		err = sockets.OpenNamed(command.admin, command.metrics)
	}
	switch {
	case usage != nil:
		sockets.Log.Critf("usage: %s [-config FILE]... [-user NAME] [-listen [tls:][IP:]PORT]... "+
			"[-admin PATH] [-metrics unix:PATH|HOST:PORT] [-linger DURATION] [-idle DURATION]: %v", p.Name, usage)
		return 1
	case err != nil:
		for text := range strings.SplitSeq(err.Error(), "\n") {
			sockets.Log.Critf("%s", text)
		}
		return 1
	}
	return resident.Run(ctx, resident.Options{
		Program: p, Sockets: sockets, Configs: command.configs, Args: args, User: command.user,
		Stderr: stderr, Linger: command.linger, Idle: command.idle,
	})
}

// serveOne serves the connection that the launcher has passed.
func serveOne(
	ctx context.Context, p *frontend.Program, request launch.Request, command command, usage error,
) int {
	// One connection is one line of work. More processors would only have threads wake each other up.
	runtime.GOMAXPROCS(1)
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	opened, openErr := launch.Open(request)
	if err := identity.NoCore(); err != nil {
		opened.Log.Warnf("passwords may end up in core files: %v", err)
	}
	if usage == nil && len(command.args) != 2 {
		usage = fmt.Errorf("expected exactly two arguments, not %d", len(command.args))
	}
	// The launcher says it: the settings may be what is wrong.
	overTLS, _ := spelling.ParseSwitch(config.Environment(request.Environ).Get(p.Protocol.Name + "_TLS"))
	switch {
	case usage != nil:
		opened.Log.Errf("usage: %s [-config FILE]... SERVER MAILDIR, with a connection from a launcher; "+
			"or with -listen, or as \"%[1]s check\", see %[1]s(8): %[2]v", p.Name, usage)
		return giveUp(opened, overTLS, p.WrongArguments)
	case openErr != nil:
		opened.Log.Critf("%v", openErr)
		return giveUp(opened, overTLS, p.Protocol.Unavailable)
	}
	c, err := config.Load(command.configs, request.Environ, config.Protocol(p.Protocol.Name))
	if err == nil {
		err = c.PerConnection()
	}
	if err != nil {
		for text := range strings.SplitSeq(err.Error(), "\n") {
			opened.Log.Critf("%s", text)
		}
		return giveUp(opened, overTLS, p.Protocol.Unavailable)
	}
	carrier := frontend.NewProcessCarrier(opened.Log)
	server, err := frontend.New(frontend.Options{
		Protocol: p.Protocol, Config: c, Log: opened.Log, Args: command.args,
		Auth:   frontend.NewAuth(c, request.Stderr),
		Relayd: frontend.NewRelayd(c),
		Engine: carrier.Start, Pumps: carrier.Pumps,
		DropRoot: local.DropRoot, Local: local.Process{Stderr: request.Stderr},
	})
	if err != nil {
		opened.Log.Critf("%v", err)
		return giveUp(opened, overTLS, p.Protocol.Unavailable)
	}
	status := server.ServeConn(ctx, opened.Conn, opened.Peer)
	return max(status, carrier.Wait(ctx))
}

// giveUp tells the client, if there is one that does not wait for a handshake, and returns the exit status.
func giveUp(opened *launch.Launch, overTLS bool, text string) int {
	if opened.Conn != nil {
		if !overTLS || frontend.TLSInFront(opened.Conn, opened.Peer) {
			frontend.Farewell(opened.Conn, time.Now(), text)
		}
		opened.Conn.Close()
	}
	return 1
}

// command is a front end's command line.
type command struct {
	version bool
	configs []string
	listen  []string
	admin   string
	metrics string
	user    string
	linger  time.Duration
	idle    time.Duration
	args    []string // the local server and the maildir; of no use to a resident program
}

func parse(name string, args []string) (command, error) {
	var c command
	flags := flag.NewFlagSet(name, flag.ContinueOnError)
	// Standard error may be the client.
	flags.SetOutput(io.Discard)
	flags.BoolVar(&c.version, "version", false, "print the version and exit")
	flags.Func("config", "read settings from `FILE`; may be repeated", appendTo(&c.configs))
	flags.Func("listen", "serve all connections to `[tls:][IP:]PORT`; may be repeated", appendTo(&c.listen))
	flags.StringVar(&c.user, "user", "", "become user `NAME` once the sockets are open (resident only)")
	flags.StringVar(&c.admin, "admin", "", "answer administrators on the unix socket `PATH` (resident only)")
	flags.StringVar(&c.metrics, "metrics", "", "serve Prometheus on `unix:PATH|HOST:PORT` (resident only)")
	flags.DurationVar(&c.linger, "linger", 24*time.Hour,
		"keep what a reload cannot pass on for `DURATION` (resident only)")
	flags.DurationVar(&c.idle, "idle", 5*time.Minute,
		"end after `DURATION` without a session (resident under inetd's wait only)")
	if err := flags.Parse(args); err != nil {
		return c, err
	}
	if c.linger < 0 || c.idle < 0 {
		return c, errors.New("a duration is negative")
	}
	c.args = flags.Args()
	if n := len(c.args); !c.version && n != 0 && n != 2 {
		return c, fmt.Errorf("expected exactly two arguments, not %d", n)
	}
	return c, nil
}

func appendTo(list *[]string) func(string) error {
	return func(value string) error {
		*list = append(*list, value)
		return nil
	}
}
