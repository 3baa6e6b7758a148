// Relayd holds the authenticated sessions of many front ends in one small unprivileged process: clients'
// and mailhosts' connections come to it over a unix socket, are joined until both directions are done, and
// cost a few hundred bytes while they idle. TLS connections come with the keys and counters of their
// records. It connects to no host, and the only file that it reads is that of -options.
//
// It deliberately lacks: any knowledge of IMAP and POP3, and of logins; TLS handshakes, certificates and
// private keys.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"

	"golang.org/x/sys/unix"

	"mailproxy/internal/maillog"
	"mailproxy/internal/version"
	"mailproxy/relay"
	"mailproxy/relay/handoff"
)

// Exit codes.
const (
	exitOK     = 0
	exitUsage  = 100 // wrong arguments
	exitSystem = 111 // a system call failed, or relayd could not be asked
)

func main() {
	log := maillog.Open(os.Stderr, "relayd", os.Getenv("JOURNAL_STREAM"))
	os.Exit(run(context.Background(), os.Args, os.Getenv, os.Stdout, os.Stderr, log))
}

// run is the program; args include its name. The log is that of the service, and goes to stderr too.
func run(
	ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer, log *maillog.Log,
) int {
	conf, err := parse(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitOK
	case err != nil:
		log.Errf("relayd: %v", err)
		return exitUsage
	}
	switch conf.command {
	case "":
		if err := conf.serve(ctx, getenv, log); err != nil {
			log.Errf("relayd: %v", err)
			return exitSystem
		}
		return exitOK
	case "version":
		_, err = fmt.Fprintf(stdout, "relayd %s\n", version.Version)
	default:
		ctx, cancel := context.WithTimeout(ctx, silence)
		defer cancel()
		err = handoff.Ask(ctx, conf.socket, []string{relay.DefaultUser, conf.user}, conf.question(), stdout)
	}
	if err != nil {
		fmt.Fprintf(stderr, "relayd: %v\n", err)
		return exitSystem
	}
	return exitOK
}

func (c *config) question() *handoff.Message {
	switch c.command {
	case "who":
		return &handoff.Message{Verb: handoff.Who}
	case "kick":
		return &handoff.Message{Verb: handoff.Kick, Fields: map[string]string{"WHOM": c.whom}}
	}
	return &handoff.Message{Verb: handoff.Stats}
}

// serve runs the service until SIGTERM or SIGINT, or until SIGHUP has given all sessions to a new process.
func (c *config) serve(ctx context.Context, getenv func(string) string, log *maillog.Log) error {
	signal.Ignore(unix.SIGPIPE) // sessions outlive the reader of the log
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, unix.SIGTERM, unix.SIGINT, unix.SIGHUP)
	defer signal.Stop(signals)
	log, closeLog := log.Queue()
	defer closeLog()
	for _, option := range c.old {
		log.Warnf("relayd: option %s no longer has a meaning and is ignored: "+
			"front ends make the TLS handshakes", option)
	}
	var err error
	if c.program, err = os.Executable(); err != nil {
		return err
	}
	for _, name := range []string{"NOTIFY_SOCKET", "JOURNAL_STREAM", "GOMAXPROCS", "GODEBUG", "GORACE"} {
		if v := getenv(name); v != "" {
			c.environ = append(c.environ, name+"="+v)
		}
	}
	sockets, err := inherit(getenv)
	if err != nil {
		return err
	}
	if err := sockets.listen(c, log); err != nil {
		return err
	}
	if err := c.dropRights(); err != nil {
		return err
	}
	// A loop that waits keeps a processor of the scheduler's for a while; the rest has others.
	runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + c.loops)
	s, err := newService(c, sockets, log)
	if err != nil {
		return err
	}
	if sockets.handoff != nil {
		if err := s.takeOver(ctx, sockets.handoff); err != nil {
			return err
		}
	}
	return s.serve(ctx, signals)
}
