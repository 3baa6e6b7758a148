package frontend

import (
	"net"

	"mailproxy/internal/config"
	"mailproxy/internal/maillog"
	"mailproxy/internal/peercred"
	"mailproxy/relay/handoff"
)

// Program is what makes imapd-proxy and pop3d-proxy different programs.
type Program struct {
	// Name is the program's name: --version, syslog.
	Name     string
	Protocol *Protocol
	// WrongArguments is what a client reads when the program was started with other than two arguments, a
	// whole line without its end.
	WrongArguments string
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
