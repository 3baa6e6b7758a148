// Package admin answers an administrator's questions about the sessions of a process: who, kick, stats. They
// come over a unix socket in the messages of package handoff, to relayd on the socket that front ends come to
// and to a resident front end on one of its own.
package admin

import (
	"bytes"
	"cmp"
	"io"
	"net"
	"slices"
	"strconv"

	"mailproxy/relay"
	"mailproxy/relay/engine"
	"mailproxy/relay/handoff"
)

// Handler answers an administrator's questions.
type Handler struct {
	Engine *engine.Engine
	// Stats writes the metrics.
	Stats func(io.Writer)
}

// IsQuestion says whether a message is a question.
func IsQuestion(m *handoff.Message) bool {
	return m.Verb == handoff.Who || m.Verb == handoff.Kick || m.Verb == handoff.Stats
}

// Answer answers a question on the connection that it came on.
func (d *Handler) Answer(c *net.UnixConn, m *handoff.Message) error {
	var out bytes.Buffer
	switch m.Verb {
	case handoff.Who:
		writeSessions(&out, d.Engine.List())
	case handoff.Stats:
		d.Stats(&out)
	case handoff.Kick:
		whom := m.Fields["WHOM"]
		n := d.Engine.Kick(func(i relay.Info) bool { return handoff.IsOf(i, whom) })
		out.WriteString(strconv.Itoa(n) + "\n")
	}
	return handoff.SendText(c, out.Bytes())
}

// writeSessions lists sessions, the oldest first.
func writeSessions(w io.Writer, all []engine.State) {
	slices.SortStableFunc(all, func(a, b engine.State) int {
		return cmp.Compare(a.Info.Start.Unix(), b.Info.Start.Unix())
	})
	for _, x := range all {
		_, _ = io.WriteString(w, handoff.List(x.Info, x.Stats).Line())
	}
}
