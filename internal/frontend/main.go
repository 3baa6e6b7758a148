package frontend

import (
	"context"
	"os"

	"mailproxy/internal/inetd"
)

type inetdConn = inetd.Conn

// Program is what imapd-proxy's and pop3d-proxy's mains differ in.
type Program struct {
	// Name is the program's name: --version, syslog.
	Name     string
	Protocol *Protocol
	// WrongArguments, NoService and ... are full protocol lines without their end, for failures before a dialogue.
	// WrongArguments: started with other than two arguments.
	WrongArguments string
	// Unavailable: settings are wrong, or the connection can not be used.
	Unavailable string
	// Serve holds the dialogue and returns the exit status. Deadlines on s.Conn are set by this package: the dialogue
	// reads and writes, and asks s.Why when that fails.
	Serve func(ctx context.Context, s *Session) int
}

// Run is the whole of a front end's main: flags, launcher, settings, signals, one session.
func (p *Program) Run(ctx context.Context, args, environ []string, stdin, stdout, stderr *os.File) int {
	return 1
}
