// Package admin answers an administrator's questions about the sessions of a process: who, kick, stats. The
// questions are messages of package handoff. relayd receives them on the socket that front ends use, a
// resident front end on a socket of its own.
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

// Handle is a handoff.Handler, for callers with one question each. Anything else is an unknown request.
func (h *Handler) Handle(c *net.UnixConn, m *handoff.Message, fds []int) (more bool) {
	handoff.CloseAll(fds)
	var out bytes.Buffer
	switch m.Verb {
	case handoff.Who:
		writeSessions(&out, h.Engine.List())
	case handoff.Stats:
		h.Stats(&out)
	case handoff.Kick:
		whom := m.Fields["WHOM"]
		n := h.Engine.Kick(func(i relay.Info) bool { return handoff.IsOf(i, whom) })
		out.WriteString(strconv.Itoa(n) + "\n")
	default:
		_ = handoff.Answer(c, handoff.Fail, "unknown request")
		return false
	}
	_ = handoff.SendText(c, out.Bytes())
	return false
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
