package engine

import (
	"fmt"

	"mailproxy/relay"
	"mailproxy/relay/handoff"
)

// TakeMessage is Take for a CARRY message and its descriptors, which are the Engine's to close in any case.
// info is the session's as far as the message could be read.
func (e *Engine) TakeMessage(m *handoff.Message, fds []int, acknowledge func() error) (
	info relay.Info, err error,
) {
	h, err := handoff.ParseSession(m)
	if err == nil {
		info = h.Info
		if len(fds) != 2 {
			err = fmt.Errorf("%d descriptors instead of 2", len(fds))
		}
	}
	if err == nil {
		err = e.Take(h, [2]int{fds[0], fds[1]}, acknowledge)
	}
	if err != nil {
		handoff.CloseAll(fds)
	}
	return info, err
}
