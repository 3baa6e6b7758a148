package frontend

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"mailproxy/internal/config"
	"mailproxy/internal/launch"
	"mailproxy/internal/local"
	"mailproxy/internal/maillog"
	"mailproxy/internal/peercred"
	"mailproxy/internal/version"
	"mailproxy/relay/handoff"
)

// Program is imapd-proxy or pop3d-proxy as a program that serves one connection.
type Program struct {
	// Name is the program's name: --version, syslog.
	Name     string
	Protocol *Protocol
	// WrongArguments is what a client reads when the program was started with other than two arguments, a
	// whole line without its end.
	WrongArguments string
}

// Run is the whole of a front end's main: flags, launcher, settings, signals, one connection. args and
// environ are the process's (args without the program's name); the three files become ours, see
// launch.Open. The result is the exit status: 0 after an orderly session and after a signal before the
// login, 1 after a failure.
func (p *Program) Run(ctx context.Context, args, environ []string, stdin, stdout, stderr *os.File) int {
	command, err := p.parse(args)
	if err == nil && command.version {
		fmt.Fprintln(stdout, p.Name, version.Version)
		return 0
	}
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	opened, openErr := launch.Open(launch.Request{
		// In syslog the program goes by the name of Courier's service, imapd or pop3d: fail2ban's filters
		// look for it.
		Name: strings.TrimSuffix(p.Name, "-proxy"), Environ: environ, Stdin: stdin, Stdout: stdout, Stderr: stderr,
	})
	if err := launch.NoCore(); err != nil {
		opened.Log.Warnf("passwords may end up in core files: %v", err)
	}
	switch {
	case err != nil:
		opened.Log.Errf("usage: %s [-config FILE]... SERVER MAILDIR: %v", p.Name, err)
		return giveUp(opened, p.WrongArguments)
	case openErr != nil:
		opened.Log.Critf("%v", openErr)
		return giveUp(opened, p.Protocol.Unavailable)
	}
	c, err := config.Load(command.configs, environ, config.Protocol(p.Protocol.Name))
	if err != nil {
		for text := range strings.SplitSeq(err.Error(), "\n") {
			opened.Log.Critf("%s", text)
		}
		return giveUp(opened, p.Protocol.Unavailable)
	}
	carrier := NewProcessCarrier(opened.Log)
	server, err := New(Options{
		Protocol: p.Protocol, Config: c, Log: opened.Log, Args: command.args,
		Auth:   NewAuth(c, stderr),
		Relayd: NewRelayd(c),
		Engine: carrier.Start, DropRoot: local.DropRoot, Local: local.Process{Stderr: stderr},
	})
	if err != nil {
		opened.Log.Critf("%v", err)
		return giveUp(opened, p.Protocol.Unavailable)
	}
	status := server.ServeConn(ctx, opened.Conn, opened.Peer)
	return max(status, carrier.Wait(ctx))
}

// NewRelayd returns the client of relayd of these settings.
func NewRelayd(c *config.Config) *handoff.Client {
	return &handoff.Client{
		Socket:  c.RelaySocket,
		Trusted: func(conn *net.UnixConn) error { return peercred.Listener(conn, c.RelaydUsers...) },
	}
}

// Inspect makes a server from settings for a program that explains them: see Server.Inspect.
func (p *Program) Inspect(c *config.Config, log *maillog.Log) (*Server, error) {
	return New(Options{Protocol: p.Protocol, Config: c, Log: log, Auth: NewAuth(c, nil)})
}

// giveUp tells the client, if there is one, and returns the exit status.
func giveUp(opened *launch.Launch, text string) int {
	if opened.Conn != nil {
		farewell(opened.Conn, time.Now(), text+"\r\n")
		opened.Conn.Close()
	}
	return 1
}

// command is a front end's command line.
type command struct {
	version bool
	configs []string
	args    []string
}

func (p *Program) parse(args []string) (command, error) {
	var c command
	flags := flag.NewFlagSet(p.Name, flag.ContinueOnError)
	// Standard error may be the client.
	flags.SetOutput(io.Discard)
	flags.BoolVar(&c.version, "version", false, "print the version and exit")
	flags.Func("config", "read settings from `FILE`; may be repeated", func(name string) error {
		c.configs = append(c.configs, name)
		return nil
	})
	if err := flags.Parse(args); err != nil {
		return c, err
	}
	c.args = flags.Args()
	if !c.version && len(c.args) != 2 {
		return c, fmt.Errorf("expected exactly two arguments, not %d", len(c.args))
	}
	return c, nil
}
