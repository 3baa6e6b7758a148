package local

import (
	"os"
	"syscall"

	"mailproxy/internal/launch"
)

// Process is the local server as a process that serves one connection runs it.
type Process struct {
	// Stderr is the standard error of a server that is started beside us.
	Stderr *os.File
}

// Exec becomes the local server, see execServer.
func (Process) Exec(conn launch.Conn, l *Server) error { return execServer(conn, l) }

// Start starts the local server as a child, see start.
func (p Process) Start(stdio syscall.Conn, l *Server) (*os.Process, error) {
	return start(stdio, p.Stderr, l)
}
