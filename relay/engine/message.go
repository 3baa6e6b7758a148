package engine

import (
	"fmt"
	"net"

	"mailproxy/relay"
	"mailproxy/relay/handoff"
)

// TakeMessage is Carry for a CARRY message that has come on c, which is answered with OK; handoff.Refuse
// answers for an error. The message's file descriptors are the Engine's to close in any case. info is the
// session's as far as the message could be read.
func (e *Engine) TakeMessage(c *net.UnixConn, m *handoff.Message, fds []int) (info relay.Info, err error) {
	h, err := handoff.ParseSession(m)
	if err == nil {
		info = h.Info
		switch {
		case m.FilesLost:
			err = fmt.Errorf("%w: no free file descriptors", relay.ErrUnavailable)
		case len(fds) != 2:
			err = fmt.Errorf("%d file descriptors instead of 2", len(fds))
		}
	}
	if err == nil {
		err = e.takeSockets(h, [2]int{fds[0], fds[1]}, func() error { return handoff.Answer(c, handoff.OK, "") })
	}
	if err != nil {
		handoff.CloseAll(fds)
	}
	return info, err
}
