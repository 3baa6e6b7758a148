package frontend

import "mailproxy/internal/launch"

// AuthProgram is the authdaemond that is started where nobody listens; empty where there is none.
func (s *Server) AuthProgram() string { return authProgram(s.Config) }

// Inspect makes a Conn without a connection, for a program that explains settings: enough for
// Protocol.Capabilities.
func (s *Server) Inspect(tls bool) *Conn {
	c := &Conn{Session: s.Login.NewSession(launch.Peer{}, nil, s.Log), server: s}
	c.TLS = tls
	return c
}
