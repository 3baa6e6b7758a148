package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"mailproxy/internal/peercred"
	"mailproxy/relay/internal/wire"
)

// admin answers an administrator: TEXT messages, then END.
func (s *service) admin(c syscall.Conn, m *wire.Message) {
	var out bytes.Buffer
	switch m.Verb {
	case "WHO":
		s.who(&out, time.Now())
	case "STATS":
		s.metrics(&out)
	case "KICK":
		fmt.Fprintf(&out, "%d\n", s.kick(m.Fields["WHOM"]))
	}
	for part := range slices.Chunk(out.Bytes(), wire.MaxPacket/2) {
		if wire.Send(c, &wire.Message{Verb: "TEXT", Body: part}) != nil {
			return
		}
	}
	_ = wire.Send(c, &wire.Message{Verb: "END"})
}

// each calls f for every session, in its loop's thread, one loop after the other.
func (s *service) each(f func(*loop, *session)) {
	for _, l := range s.loops {
		l.call(func() {
			for _, x := range l.slots {
				if x != nil {
					f(l, x)
				}
			}
		})
	}
}

// who lists the sessions, the oldest first: user, address, protocol, mailhost, since when, bytes from and to the client.
func (s *service) who(w io.Writer, now time.Time) {
	type row struct {
		start int64
		text  string
	}
	var rows []row
	s.each(func(_ *loop, x *session) {
		i, st := x.info(), x.stats(now)
		rows = append(rows, row{x.start, fmt.Sprintf("%s\t[%s]:%s\t%s\t%s\t%s\t%d\t%d\n", i.User, i.RemoteIP, i.RemotePort,
			i.Protocol, i.Mailhost, i.Start.UTC().Format(time.RFC3339), st.FromClient, st.FromMailhost)})
	})
	slices.SortStableFunc(rows, func(a, b row) int { return cmp.Compare(a.start, b.start) })
	for _, r := range rows {
		_, _ = io.WriteString(w, r.text)
	}
}

var errKicked = errors.New("ended by the administrator")

// kick ends every session of a user or of an address, which may be written with or without ::ffff:.
func (s *service) kick(whom string) (n int) {
	if whom == "" {
		return 0
	}
	s.each(func(l *loop, x *session) {
		i := x.info()
		if i.User == whom || strings.TrimPrefix(i.RemoteIP, "::ffff:") == strings.TrimPrefix(whom, "::ffff:") {
			n++
			l.end(x, errKicked)
		}
	})
	return n
}

// errClosed is what relayd says to those who may not ask.
var errClosed = errors.New("relayd closed the connection: may this user ask it?")

// question is the other end of admin: it asks the relayd on socket, which root, this process's user or one of users must have started,
// and copies the answer to w.
func question(ctx context.Context, socket string, users []string, m *wire.Message, w io.Writer) error {
	d := net.Dialer{Timeout: 5 * time.Second}
	nc, err := d.DialContext(ctx, "unixpacket", socket)
	if err != nil {
		return err
	}
	c := nc.(*net.UnixConn)
	defer c.Close()
	if err := peercred.Listener(c, users...); err != nil {
		return fmt.Errorf("%s: who listens: %w", socket, err)
	}
	_ = c.SetDeadline(time.Now().Add(talkTimeout))
	switch err := wire.Send(c, m); {
	case errors.Is(err, unix.EPIPE), errors.Is(err, unix.ECONNRESET):
		return errClosed
	case err != nil:
		return err
	}
	for {
		a, fds, err := wire.Receive(c)
		wire.CloseAll(fds)
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, unix.ECONNRESET):
			return errClosed
		case err != nil:
			return err
		case a.Verb == "END":
			return nil
		case a.Verb != "TEXT":
			return fmt.Errorf("relayd answers %s %s", a.Verb, a.Fields["REASON"])
		}
		if _, err := w.Write(a.Body); err != nil {
			return err
		}
	}
}
