package imap

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
		Program: Program, Args: []string{"/usr/bin/imapd", "Maildir"}, Mailhost: echoMailhost,
		Greeting: func(l *local.Server) string {
			return "* " + fronttest.Describe(l) + ", tag " + imapTag(l.Environ) + "\r\n"
		},
		Farewell: "* the end\r\n",
	}
}

func imapTag(environ []string) string {
	for _, entry := range environ {
		if tag, ok := strings.CutPrefix(entry, "IMAPLOGINTAG="); ok {
			return tag
		}
	}
	return ""
}

// echoMailhost takes bob's password or token, and then repeats what it reads.
func echoMailhost(conn *net.UnixConn) {
	in := bufio.NewReader(conn)
	io.WriteString(conn, "* OK [CAPABILITY IMAP4rev1 AUTH=OAUTHBEARER AUTH=XOAUTH2] ready\r\n")
	text, err := in.ReadString('\n')
	tag, args, _ := strings.Cut(text, " ")
	switch {
	case err != nil:
	case args == "LOGIN \"bob\" \"geheim\"\r\n":
		io.WriteString(conn, tag+" OK logged in\r\n")
		io.Copy(conn, in)
		io.WriteString(conn, "* the end\r\n")
	case strings.HasPrefix(args, "AUTHENTICATE "):
		if fronttest.TakesToken(conn, in, "") {
			io.WriteString(conn, tag+" OK logged in\r\n")
			io.Copy(conn, in)
			io.WriteString(conn, "* the end\r\n")
			return
		}
		io.WriteString(conn, tag+" NO [AUTHENTICATIONFAILED] expired-token is no token\r\n")
	default:
		io.WriteString(conn, tag+" NO secret words\r\n")
		io.Copy(io.Discard, in)
	}
}
