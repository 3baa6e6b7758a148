package resident

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"mailproxy/relay/handoff"
)

const (
	tellTime  = 5 * time.Second
	tellChunk = handoff.MaxPacket / 2
	maxTold   = 64 << 20
)

// What the old process says first on the connection on which it gives away the sessions of logins later: what
// it has learned, by name and in any number of messages each, then that this was all.
const (
	verbMemory = "MEMORY"
	fieldName  = "NAME"
)

// tell tells the process at the other end of c what this one has learned.
func tell(ctx context.Context, c *net.UnixConn, all map[string]inherited) error {
	_ = c.SetDeadline(time.Now().Add(tellTime))
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	defer func() {
		stop()
		_ = c.SetDeadline(time.Time{})
	}()
	for name, one := range all {
		text, err := one.MarshalBinary()
		if err != nil {
			return err
		}
		for part := range slices.Chunk(text, tellChunk) {
			m := &handoff.Message{Verb: verbMemory, Fields: map[string]string{fieldName: name}, Body: part}
			if err := handoff.Send(c, m); err != nil {
				return err
			}
		}
	}
	return handoff.Send(c, &handoff.Message{Verb: handoff.End})
}

// told is what a process was told, by name, or why it does not know.
type told struct {
	all map[string][]byte
	err error
}

// receive reads what tell sends. The old process tells before it gives its sessions away, so that there must
// be somebody who reads meanwhile.
func receive(c *net.UnixConn) <-chan told {
	received := make(chan told, 1)
	go func() {
		all, err := receiveAll(c)
		received <- told{all, err}
	}()
	return received
}

func receiveAll(c *net.UnixConn) (map[string][]byte, error) {
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
		case size > maxTold:
			return nil, errors.New("the old process says too much")
		}
		all[name] = append(all[name], m.Body...)
	}
}

// learn takes over what the old process has told, as far as this one has a use for it. The error has what is
// not understood.
func learn(all map[string]inherited, received told) error {
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
