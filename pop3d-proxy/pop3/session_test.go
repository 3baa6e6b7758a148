package pop3

import (
	"bufio"
	"io"
	"net"

	"mailproxy/internal/frontend/fronttest"
	"mailproxy/internal/local"
)

// front is this program for fronttest.
func front() *fronttest.Front {
	return &fronttest.Front{
		Program: Program, Args: []string{"/usr/lib/pop3d", "Maildir"}, Mailhost: echoMailhost,
		Greeting: func(l *local.Server) string {
			return "+OK " + fronttest.Describe(l) + ", " + l.Environ[len(l.Environ)-1] + "\r\n"
		},
		Farewell: "+OK the end\r\n",
	}
}

// echoMailhost takes bob's password and then repeats what it reads.
func echoMailhost(conn *net.UnixConn) {
	in := bufio.NewReader(conn)
	io.WriteString(conn, "+OK ready\r\n")
	for {
		switch text, err := in.ReadString('\n'); {
		case err != nil:
			return
		case text == "PASS geheim\r\n":
			io.WriteString(conn, "+OK logged in\r\n")
			io.Copy(conn, in)
			io.WriteString(conn, "+OK the end\r\n")
			return
		default:
			io.WriteString(conn, "+OK\r\n")
		}
	}
}
