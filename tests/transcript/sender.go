package transcript

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// sender writes in a goroutine of its own, so that a long write and what the other side says meanwhile do not
// wait for each other (on a net.Pipe they would for ever).
type sender struct {
	r       *Runner
	pending strings.Builder
	queue   chan string
	done    chan struct{}
	err     error // valid once done is closed
	closed  bool
}

func newSender(r *Runner) *sender {
	s := &sender{r: r, queue: make(chan string, 1000), done: make(chan struct{})}
	go s.run()
	return s
}

func (s *sender) run() {
	defer close(s.done)
	for text := range s.queue {
		if s.err == nil {
			s.err = s.write(text)
		}
	}
}

func (s *sender) write(text string) error {
	size := len(text)
	if s.r.Dribble > 0 {
		size = 1
	}
	for len(text) > 0 {
		s.r.Conn.SetWriteDeadline(time.Now().Add(s.r.timeout()))
		n, err := s.r.Conn.Write([]byte(text[:size]))
		if err != nil {
			return fmt.Errorf("send: %w", err)
		}
		text = text[n:]
		if s.r.Dribble > 0 {
			time.Sleep(s.r.Dribble) // the pace that the test asked for
		}
	}
	return nil
}

func (s *sender) add(text string) { s.pending.WriteString(text) }

func (s *sender) flush() {
	if s.pending.Len() > 0 {
		s.queue <- s.pending.String()
		s.pending.Reset()
	}
}

// stop ends the goroutine; a write under way ends by its deadline.
func (s *sender) stop() {
	if !s.closed {
		s.closed = true
		close(s.queue)
	}
}

// finish sends what is left and waits for it.
func (s *sender) finish() error {
	s.flush()
	s.stop()
	<-s.done
	return s.err
}

// failed returns the error of an earlier write if the writing is already over.
func (s *sender) failed() error {
	s.stop()
	select {
	case <-s.done:
		return s.err
	case <-time.After(10 * time.Millisecond):
		return nil
	}
}

// closeWrite ends the direction once everything is sent. Nothing can be sent afterwards.
func (s *sender) closeWrite() error {
	half, ok := s.r.Conn.(interface{ CloseWrite() error })
	if !ok {
		return errors.New("the connection has no CloseWrite")
	}
	if err := s.finish(); err != nil {
		return err
	}
	return half.CloseWrite()
}
