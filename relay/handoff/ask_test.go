package handoff_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mailproxy/relay/handoff"
)

// TestAskBadAnswers: whatever the other end does, the question ends, with an error that can be shown.
func TestAskBadAnswers(t *testing.T) {
	text := func(c *net.UnixConn, body string) error {
		return handoff.Send(c, &handoff.Message{Verb: "TEXT", Body: []byte(body)})
	}
	for _, tc := range []struct {
		name   string
		answer func(c *net.UnixConn)
		want   string
	}{
		{"closes", func(*net.UnixConn) {}, "closed the connection"},
		{"closes in the middle", func(c *net.UnixConn) { _ = text(c, "x") }, "closed the connection"},
		{"silent", func(c *net.UnixConn) { _, _ = io.Copy(io.Discard, c) }, "no answer: context deadline exceeded"},
		{"no message", func(c *net.UnixConn) { _, _ = c.Write([]byte("\x1b[2J")) }, "not a relayd message"},
		{"another verb", func(c *net.UnixConn) {
			_ = handoff.Send(c, &handoff.Message{Verb: "FAIL", Fields: map[string]string{"REASON": "\x1b[2J\r"}})
		}, `the answer is FAIL \033[2J\015`},
		{"without end", func(c *net.UnixConn) {
			for text(c, strings.Repeat("x", handoff.MaxPacket-100)) == nil {
			}
		}, "the answer is too long"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "s")
			l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Net: "unixpacket", Name: path})
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			go func() {
				c, err := l.AcceptUnix()
				if err != nil {
					return
				}
				defer c.Close()
				_, fds, _ := handoff.Receive(c)
				handoff.CloseAll(fds)
				tc.answer(c)
			}()
			limit := 30 * time.Second
			if tc.name == "silent" {
				limit = 50 * time.Millisecond
			}
			ctx, cancel := context.WithTimeout(context.Background(), limit)
			defer cancel()
			var out counter
			err = handoff.Ask(ctx, path, nil, &handoff.Message{Verb: handoff.Who}, &out)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v, not %q", err, tc.want)
			}
			if out > handoff.MaxAnswer {
				t.Errorf("%d bytes", out)
			}
		})
	}
}

type counter int

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}

// TestAskWriter: an answer that cannot be written is the end.
func TestAskWriter(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Net: "unixpacket", Name: path})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		c, err := l.AcceptUnix()
		if err != nil {
			return
		}
		defer c.Close()
		_, _, _ = handoff.Receive(c)
		_ = handoff.SendText(c, bytes.Repeat([]byte("x"), 3*handoff.MaxPacket))
	}()
	r, w := io.Pipe()
	r.Close()
	err = handoff.Ask(context.Background(), path, nil, &handoff.Message{Verb: handoff.Who}, w)
	if !errors.Is(err, io.ErrClosedPipe) {
		t.Error(err)
	}
}
