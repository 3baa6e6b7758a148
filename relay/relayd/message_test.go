package main

import (
	"bytes"
	"testing"

	"golang.org/x/sys/unix"

	"mailproxy/relay"
	"mailproxy/relay/internal/pump"
	"mailproxy/relay/internal/wire"
)

// FuzzTake: whatever a TAKE message says of TLS and of the client's answer is refused or gives a session whose bytes are those of
// the message.
func FuzzTake(f *testing.F) {
	state := bytes.Repeat([]byte("0"), 2*123)
	f.Add([]byte("TAKE\nFIRST=0\n\n"))
	f.Add([]byte("TAKE\nFIRST=6\n\na OK\r\n"))
	f.Add([]byte("TAKE\nFIRST=0\nCLIENT_TLS=" + string(state) + "\nCLIENT_PLAIN=2\nCLIENT_RAW=0\n\nab"))
	f.Add([]byte("TAKE\nFIRST=1\nMAILHOST_TLS=0304130100000000002\nMAILHOST_PLAIN=99\nMAILHOST_RAW=-1\n\nab"))
	f.Fuzz(func(t *testing.T, p []byte) {
		m, err := wire.Decode(p)
		if err != nil {
			return
		}
		s := newSession(relay.Info{}, pump.End{FD: -1}, pump.End{FD: -1})
		first, plain, err := s.prepare(m, nil)
		if err != nil {
			return
		}
		for leg := range plain {
			if err := s.prime(leg, plain[leg]); err != nil {
				t.Fatal(err)
			}
		}
		if n := len(first) + len(s.end[0].In) + len(s.end[1].In); n > len(m.Body) || s.flow[client].Moved+s.flow[mailhost].Moved > int64(len(m.Body)) {
			t.Fatalf("%d bytes out of %d", n, len(m.Body))
		}
	})
}

// FuzzThaw: a session that can be read from a MOVE message is written as one that reads the same.
func FuzzThaw(f *testing.F) {
	s := newSession(info("ann"), pump.End{FD: -1, Out: []byte("held")}, pump.End{FD: -1, Ended: true})
	m, held, err := s.freeze(pump.NewShop(0))
	if err != nil {
		f.Fatal(err)
	}
	p, err := m.Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(p, held)
	f.Add([]byte("MOVE\nMOVED0=1\n\n"), []byte("x"))
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { wire.CloseAll(fds[:]) })
	f.Fuzz(func(t *testing.T, p, held []byte) {
		m, err := wire.Decode(p)
		if err != nil {
			return
		}
		x, err := thaw(m, held, fds[:])
		if err != nil {
			return
		}
		first, heldFirst, err := x.freeze(pump.NewShop(0))
		if err != nil {
			t.Fatal(err)
		}
		y, err := thaw(first, heldFirst, fds[:])
		if err != nil {
			t.Fatalf("what was written is not read: %v", err)
		}
		second, heldSecond, err := y.freeze(pump.NewShop(0))
		if err != nil || !bytes.Equal(heldFirst, heldSecond) {
			t.Fatalf("%q became %q, %v", heldFirst, heldSecond, err)
		}
		for name, value := range first.Fields {
			if second.Fields[name] != value {
				t.Fatalf("%s: %q became %q", name, value, second.Fields[name])
			}
		}
	})
}
