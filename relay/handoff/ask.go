package handoff

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"

	"golang.org/x/sys/unix"

	"mailproxy/internal/connection"
	"mailproxy/internal/peercred"
	"mailproxy/internal/text"
)

// MaxAnswer bounds the answer to a question: half a million sessions fit.
const MaxAnswer = 64 << 20

// ErrClosed says that the other end has hung up without an answer.
var ErrClosed = errors.New("it closed the connection: may this user ask it?")

// errTooLong says that an answer is longer than MaxAnswer.
var errTooLong = errors.New("the answer is too long")

// Ask puts a question to the program that listens on socket, which root, this process's user or one of users
// must have started, and copies the answer to w, until the end of ctx.
func Ask(ctx context.Context, socket string, users []string, m *Message, w io.Writer) error {
	var d net.Dialer
	nc, err := d.DialContext(ctx, "unixpacket", socket)
	if err != nil {
		return err
	}
	c := nc.(*net.UnixConn)
	defer c.Close()
	if err := peercred.Listener(c, users...); err != nil {
		return fmt.Errorf("%s: who listens: %w", socket, err)
	}
	defer connection.Interrupt(ctx, c.SetDeadline)()
	err = exchangeText(c, m, w)
	if ctx.Err() != nil && err != nil {
		return fmt.Errorf("%s: no answer: %w", socket, context.Cause(ctx))
	}
	return err
}

// exchangeText sends a question and reads the answer.
func exchangeText(c *net.UnixConn, m *Message, w io.Writer) error {
	switch err := Send(c, m); {
	case errors.Is(err, unix.EPIPE), errors.Is(err, unix.ECONNRESET):
		return ErrClosed
	case err != nil:
		return err
	}
	for n := 0; ; {
		a, fds, err := Receive(c)
		CloseAll(fds)
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, unix.ECONNRESET):
			return ErrClosed
		case err != nil:
			return err
		case a.Verb == End:
			return nil
		case a.Verb != Text:
			return fmt.Errorf("the answer is %s %s", text.Field(a.Verb), text.Field(a.Fields["REASON"]))
		}
		if n += len(a.Body); n > MaxAnswer {
			return errTooLong
		}
		if _, err := w.Write(a.Body); err != nil {
			return err
		}
	}
}

// SendText sends the answer to a question.
func SendText(c *net.UnixConn, answer []byte) error {
	for part := range slices.Chunk(answer, MaxPacket/2) {
		if err := Send(c, &Message{Verb: Text, Body: part}); err != nil {
			return err
		}
	}
	return Send(c, &Message{Verb: End})
}
