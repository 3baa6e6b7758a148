package frontend

import (
	"mailproxy/internal/config"
	"mailproxy/internal/launch"
	"mailproxy/internal/maillog"
)

// AuthProgram is the authdaemond that is started if no process listens on the socket; empty if there is no
// such program.
func (s *Server) AuthProgram() string { return authProgram(s.Config) }

// Capabilities is what a client is told on a connection with or without TLS, for a program that explains
// settings.
func (s *Server) Capabilities(tls bool) []string {
	c := &Conn{Session: s.Login.NewSession(launch.Peer{}, nil, s.Log), server: s}
	c.TLS = tls
	return s.Protocol.NewDialogue(c).Capabilities()
}

// Inspect makes a server from settings for a program that explains them: see Server.Inspect.
func (p *Program) Inspect(c *config.Config, log *maillog.Log) (*Server, error) {
	return New(Options{Protocol: p.Protocol, Config: c, Log: log, Auth: NewAuth(c, nil)})
}
