package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"regexp"
	"strings"
	"sync"
	"time"

	"mailproxy/tests/transcript"
)

// session is what a user does at the proxy, and what must come of it: the directory and the message of the
// account.
const session = `
S* \* OK .*
C: a1 LOGIN "${user}" "${password}"
S* a1 OK .*
C: a2 LIST "" "*"
S* \* LIST .*%[1]s"?
S* a2 OK .*
C: a3 SELECT INBOX
S* \* 1 EXISTS
S* a3 OK .*
C: a4 FETCH 1 BODY.PEEK[HEADER.FIELDS (SUBJECT)]
S* Subject: %[2]s
S* a4 OK .*
C: a5 LOGOUT
S* a5 OK .*
S-
`

// show logs a user in and writes the dialogue.
func show(ctx context.Context, addr string, u user, out *output) error {
	script, err := transcript.Parse(u.name, strings.NewReader(
		fmt.Sprintf(session, regexp.QuoteMeta(u.folder), regexp.QuoteMeta(u.subject))))
	if err != nil {
		return err
	}
	conn, err := (&net.Dialer{Timeout: 30 * time.Second}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	r := &transcript.Runner{
		Conn:    conn,
		Timeout: time.Minute,
		Vars:    map[string]string{"user": u.name, "password": u.password},
	}
	err = r.Play(script[0])
	for _, said := range r.Said() {
		out.printf("  %s", said)
	}
	return err
}

// output is the terminal, for several writers.
type output struct {
	mu sync.Mutex
	w  io.Writer
}

func (o *output) printf(format string, args ...any) {
	o.mu.Lock()
	defer o.mu.Unlock()
	fmt.Fprintf(o.w, format+"\n", args...)
}

func (o *output) section(title string) { o.printf("\n%s", title) }

// byHand says how to try it.
func (o *output) byHand(addr string, accounts []user) {
	host, port, _ := net.SplitHostPort(addr)
	o.printf("\nThe proxy stays up. Connect by hand:  nc -C %s %s  (or: telnet %s %s), then type", host, port,
		host, port)
	for _, u := range accounts {
		o.printf("  a1 LOGIN %s %q", u.name, u.password)
	}
	o.printf("Ctrl-C ends it.")
}

// log returns a writer for the log of a program, whose lines are shown with its name. It wants whole
// lines, which our programs write.
func (o *output) log(name string) io.Writer { return &logWriter{o, name} }

type logWriter struct {
	out  *output
	name string
}

func (l *logWriter) Write(p []byte) (int, error) {
	for line := range strings.Lines(string(p)) {
		l.out.printf("  %s: %s", l.name, strings.TrimRight(line, "\n"))
	}
	return len(p), nil
}
