package resident

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"mailproxy/internal/connection"
	"mailproxy/relay/handoff"
)

const (
	stateTime  = 5 * time.Second
	stateChunk = handoff.MaxPacket / 2
	maxState   = 64 << 20
)

// What the old process says first on the connection on which it gives away the sessions of logins later: what
// it has learned, by name and in any number of messages each, then that this was all.
const (
	verbMemory = "MEMORY"
	fieldName  = "NAME"
)

// sendState sends the process at the other end of c what this one has learned.
func sendState(ctx context.Context, c *net.UnixConn, all map[string]inherited) error {
	defer connection.Within(ctx, c, stateTime)()
	for name, one := range all {
		text, err := one.MarshalBinary()
		if err != nil {
			return err
		}
		for part := range slices.Chunk(text, stateChunk) {
			m := &handoff.Message{Verb: verbMemory, Fields: map[string]string{fieldName: name}, Body: part}
			if err := handoff.Send(c, m); err != nil {
				return err
			}
		}
	}
	return handoff.Send(c, &handoff.Message{Verb: handoff.End})
}

// receivedState is what a process has received, by name, or why it has not.
type receivedState struct {
	all map[string][]byte
	err error
}

// receiveState reads what sendState sends. The old process sends it before it gives its sessions away, so
// that there must be somebody who reads meanwhile.
func receiveState(c *net.UnixConn) <-chan receivedState {
	received := make(chan receivedState, 1)
	go func() {
		all, err := readState(c)
		received <- receivedState{all, err}
	}()
	return received
}

func readState(c *net.UnixConn) (map[string][]byte, error) {
	all, size := map[string][]byte{}, 0
	for {
		m, fds, err := handoff.Receive(c)
		handoff.CloseAll(fds)
		if err != nil {
			return nil, err
		}
		size += len(m.Body)
		name := m.Fields[fieldName]
		switch {
		case m.Verb == handoff.End:
			return all, nil
		case m.Verb != verbMemory:
			return nil, fmt.Errorf("the old process says %s", m.Verb)
		case size > maxState:
			return nil, errors.New("the old process says too much")
		}
		all[name] = append(all[name], m.Body...)
	}
}

// restoreState takes over what the old process has sent, as far as this one has a use for it. The error has
// what is not understood.
func restoreState(all map[string]inherited, received receivedState) error {
	errs := []error{received.err}
	for name, one := range all {
		if text, ok := received.all[name]; ok {
			if err := one.UnmarshalBinary(text); err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", name, err))
			}
		}
	}
	return errors.Join(errs...)
}
