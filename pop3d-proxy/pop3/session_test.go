package pop3

import (
	"bufio"
	"io"
	"net"
	"strings"

	"mailproxy/internal/local"
	"mailproxy/tests/fronttest"
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

// echoMailhost takes bob's password or token, and then repeats what it reads.
func echoMailhost(conn *net.UnixConn) {
	in := bufio.NewReader(conn)
	io.WriteString(conn, "+OK ready\r\n")
	for {
		text, err := in.ReadString('\n')
		isAuth := strings.HasPrefix(text, "AUTH ")
		switch {
		case err != nil:
			return
		case text == "CAPA\r\n":
			io.WriteString(conn, "+OK\r\nSASL OAUTHBEARER XOAUTH2\r\n.\r\n")
		case isAuth && !fronttest.TakesToken(conn, in, strings.Join(strings.Fields(text)[2:], "")):
			io.WriteString(conn, "-ERR [AUTH] expired-token is no token\r\n")
		case isAuth, text == "PASS geheim\r\n":
			io.WriteString(conn, "+OK logged in\r\n")
			io.Copy(conn, in)
			io.WriteString(conn, "+OK the end\r\n")
			return
		default:
			io.WriteString(conn, "+OK\r\n")
		}
	}
}
