package main

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"mailproxy/relay/internal/wire"
)

// A listener ends its wait at the deadline, goes on after it, and ends with Close.
func TestListener(t *testing.T) {
	u, err := net.ListenUnix("unixpacket", &net.UnixAddr{Net: "unixpacket", Name: filepath.Join(t.TempDir(), "s")})
	if err != nil {
		t.Fatal(err)
	}
	l, err := listen(u)
	if err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(20*time.Millisecond, func() { l.SetDeadline(time.Unix(1, 0)) })
	if _, err := l.accept(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error(err)
	}
	l.SetDeadline(time.Time{})
	near, err := net.Dial("unixpacket", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer near.Close()
	c, err := l.accept()
	if err != nil {
		t.Fatal(err)
	}
	c.Within(context.Background(), time.Now().Add(2*time.Millisecond))
	if _, _, err := wire.Receive(c); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error(err)
	}
	defer c.Close()
	c.Within(context.Background(), time.Now().Add(5*time.Second))
	if err := wire.Send(near.(*net.UnixConn), &wire.Message{Verb: "HELLO"}); err != nil {
		t.Fatal(err)
	}
	if m, _, err := wire.Receive(c); err != nil || m.Verb != "HELLO" {
		t.Errorf("%v, %v", m, err)
	}
	time.AfterFunc(20*time.Millisecond, func() { l.Close() })
	if _, err := l.accept(); !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
}
