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
	"time"

	"golang.org/x/sys/unix"

	"mailproxy/internal/peercred"
	"mailproxy/relay"
	"mailproxy/relay/engine"
	"mailproxy/relay/handoff"
)

// admin answers an administrator: TEXT messages, then END.
func (s *service) admin(c *net.UnixConn, m *handoff.Message) {
	var out bytes.Buffer
	switch m.Verb {
	case "WHO":
		writeSessions(&out, s.engine.List())
	case "STATS":
		s.metrics(&out)
	case "KICK":
		fmt.Fprintf(&out, "%d\n", s.kick(m.Fields["WHOM"]))
	}
	for part := range slices.Chunk(out.Bytes(), handoff.MaxPacket/2) {
		if handoff.Send(c, &handoff.Message{Verb: "TEXT", Body: part}) != nil {
			return
		}
	}
	_ = handoff.Send(c, &handoff.Message{Verb: "END"})
}

// writeSessions lists sessions, the oldest first: user, address, protocol, mailhost, since when, bytes from
// and to the client.
func writeSessions(w io.Writer, all []engine.State) {
	slices.SortStableFunc(all, func(a, b engine.State) int {
		return cmp.Compare(a.Info.Start.Unix(), b.Info.Start.Unix())
	})
	for _, x := range all {
		i := x.Info
		fmt.Fprintf(w, "%s\t[%s]:%s\t%s\t%s\t%s\t%d\t%d\n",
			i.User, i.RemoteIP, i.RemotePort, i.Protocol, i.Mailhost,
			i.Start.UTC().Format(time.RFC3339), x.Stats.FromClient, x.Stats.FromMailhost)
	}
}

// kick ends every session of a user or of an address, which may be written with or without ::ffff:.
func (s *service) kick(whom string) int {
	if whom == "" {
		return 0
	}
	return s.engine.Kick(func(i relay.Info) bool {
		return i.User == whom || strings.TrimPrefix(i.RemoteIP, "::ffff:") == strings.TrimPrefix(whom, "::ffff:")
	})
}

// errClosed is what relayd says to those who may not ask.
var errClosed = errors.New("relayd closed the connection: may this user ask it?")

// question is the other end of admin: it asks the relayd on socket, which root, this process's user or one
// of users must have started, and copies the answer to w.
func question(ctx context.Context, socket string, users []string, m *handoff.Message, w io.Writer) error {
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
	_ = c.SetDeadline(time.Now().Add(silence))
	switch err := handoff.Send(c, m); {
	case errors.Is(err, unix.EPIPE), errors.Is(err, unix.ECONNRESET):
		return errClosed
	case err != nil:
		return err
	}
	for {
		a, fds, err := handoff.Receive(c)
		handoff.CloseAll(fds)
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
