package frontend

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"mailproxy/internal/config"
	"mailproxy/internal/launch"
	"mailproxy/internal/local"
	"mailproxy/internal/version"
)

// Program is what imapd-proxy's and pop3d-proxy's mains differ in.
type Program struct {
	// Name is the program's name: --version, syslog.
	Name     string
	Protocol *Protocol
	// WrongArguments and Unavailable are what a client reads when no dialogue can begin, each a whole line without its end.
	// WrongArguments: started with other than two arguments.
	WrongArguments string
	// Unavailable: settings are wrong, or the connection can not be used.
	Unavailable string
	// Serve holds the dialogue and returns the exit status. Deadlines on s.Conn are set by this package: the dialogue
	// reads and writes, and asks s.Why when that fails.
	Serve func(ctx context.Context, s *Session) int
	// Capabilities is what a client of the session is told before it logs in, one capability an element.
	Capabilities func(s *Session) []string
}

// Run is the whole of a front end's main: flags, launcher, settings, signals, one session. args and environ are the
// process's (args without the program's name); the three files become ours, see launch.Open. The result is the exit
// status: 0 after an orderly session and after a signal before the login, 1 after a failure.
func (p *Program) Run(ctx context.Context, args, environ []string, stdin, stdout, stderr *os.File) int {
	command, err := p.parse(args)
	if err == nil && command.version {
		fmt.Fprintln(stdout, p.Name, version.Version)
		return 0
	}
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	opened, openErr := launch.Open(launch.Request{
		// In syslog the program goes by the name of Courier's service, imapd or pop3d: fail2ban's filters look for it.
		Name: strings.TrimSuffix(p.Name, "-proxy"), Environ: environ, Stdin: stdin, Stdout: stdout, Stderr: stderr,
	})
	if opened.Conn != nil {
		defer opened.Conn.Close()
	}
	if err := launch.NoCore(); err != nil {
		opened.Log.Warnf("passwords may end up in core files: %v", err)
	}
	switch {
	case err != nil:
		opened.Log.Errf("usage: %s [-config FILE]... SERVER MAILDIR: %v", p.Name, err)
		return p.giveUp(opened, p.WrongArguments)
	case openErr != nil:
		opened.Log.Critf("%v", openErr)
		return p.giveUp(opened, p.Unavailable)
	}
	c, err := config.Load(command.configs, environ, config.Protocol(p.Protocol.Name))
	if err != nil {
		for text := range strings.SplitSeq(err.Error(), "\n") {
			opened.Log.Critf("%s", text)
		}
		return p.giveUp(opened, p.Unavailable)
	}
	s := p.session(opened, c, command.args, stderr)
	defer s.Begin(ctx)()
	if err := s.acceptHeader(); err != nil {
		return status(ctx)
	}
	if !s.enter() {
		return p.giveUp(opened, p.Unavailable)
	}
	defer s.left()
	if err := s.BeginTLS(ctx); err != nil {
		return status(ctx)
	}
	return p.Serve(ctx, s)
}

// status is the exit status after a failure: none when the program was told to stop.
func status(ctx context.Context) int {
	if ctx.Err() != nil {
		return 0
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

// giveUp tells the client, if there is one, and returns the exit status.
func (p *Program) giveUp(opened *launch.Launch, text string) int {
	if opened.Conn != nil {
		s := &Session{Conn: opened.Conn, System: RealSystem()}
		s.Farewell(text + "\r\n")
	}
	return 1
}

// session puts together what the dialogue needs.
func (p *Program) session(opened *launch.Launch, c *config.Config, args []string, stderr *os.File) *Session {
	system := RealSystem()
	system.Start = func(stdio syscall.Conn, l *local.Server) (*os.Process, error) { return local.Start(stdio, stderr, l) }
	s := &Session{
		Conn: opened.Conn, Peer: opened.Peer, Settings: c.Texts(), Config: c, Log: opened.Log,
		Protocol: p.Protocol, Args: args, System: system,
	}
	s.Auth = s.authClient(c.Environ(), stderr)
	return s
}
