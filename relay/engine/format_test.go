package engine

import (
	"bytes"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"mailproxy/relay"
	"mailproxy/relay/handoff"
	"mailproxy/relay/tlsrecord"
	"mailproxy/tests/clock"
)

// movedTLS is a TLS state as a MOVE message has it, whose keys are all zero.
func movedTLS() string {
	raw := make([]byte, len((&tlsrecord.Codec{}).Marshal()))
	raw[0], raw[1], raw[2], raw[3] = tls.VersionTLS13>>8, tls.VersionTLS13&0xff, 0x13, 0x01
	const head = 9
	raw[head], raw[(head+len(raw))/2] = 32, 32
	return hex.EncodeToString(raw)
}

// movedPackets are MOVE packets and the bytes that go with them: of the last release and of this one, idle,
// half-closed, closing, with TLS.
func movedPackets() [][2]string {
	const names = "IP=::ffff:192.0.2.7\nMAILHOST=mail1\nPORT=4711\nPROTOCOL=IMAP\nSTART=1795000000\nUSER=ann\n"
	state := "TLS0=" + movedTLS() + "\nTLS1=" + movedTLS() + "\n"
	move := func(flow0, end0, out0 string, more string) string {
		return "MOVE\nEND0=" + end0 + "\nEND1=00\nFLOW0=" + flow0 + "\nFLOW1=000\nHALFCLOSED=300\nIN0=0\nIN1=0\n" +
			"MOVED0=12\nMOVED1=345678\nOUT0=" + out0 + "\nOUT1=0\n" + names + more + "\n"
	}
	return [][2]string{
		{move("000", "00", "0", "HELD=0\n"), ""},
		{move("000", "00", "4", "HELD=4\n"), "held"},
		{move("111", "10", "0", "HELD=0\nIDLE=1500\n"), ""},
		{move("000", "00", "4", "HELD=4\n"+state), "held"},
		{move("111", "11", "4", "CLOSING=1\nHELD=4\nIDLE=20\n"+state), "held"},
	}
}

// streamPair returns the file descriptors of two connected sockets.
func streamPair(t testing.TB) [2]int {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeAll(fds[0], fds[1]) })
	return fds
}

// FuzzMoved: a session that is read from another process is written and read as the same, and holds no more
// than came with it.
func FuzzMoved(f *testing.F) {
	for _, x := range movedPackets() {
		f.Add([]byte(x[0]), []byte(x[1]))
	}
	fds := streamPair(f)
	now := time.Unix(1795000100, 0)
	f.Fuzz(func(t *testing.T, packet, held []byte) {
		m, err := handoff.Decode(packet)
		if err != nil || len(packet) > handoff.MaxPacket/2 {
			return
		}
		s, err := decode(m, held, fds[:], now)
		if err != nil {
			return
		}
		m1, held1 := s.encode(now)
		if len(held1) > len(held) {
			t.Fatalf("%q: %d bytes held of %d", packet, len(held1), len(held))
		}
		p, err := m1.Encode()
		if err != nil {
			t.Fatalf("%q was read and cannot be written: %v", packet, err)
		}
		if m1, err = handoff.Decode(p); err != nil {
			t.Fatalf("%q: %v", p, err)
		}
		s2, err := decode(m1, held1, fds[:], now)
		if err != nil {
			t.Fatalf("%q became %q: %v", packet, p, err)
		}
		m2, held2 := s2.encode(now)
		if !maps.Equal(m1.Fields, m2.Fields) || !bytes.Equal(held1, held2) {
			t.Fatalf("%q: %v became %v", packet, m1.Fields, m2.Fields)
		}
	})
}

// FuzzTakeOver: whatever the other process sends, in packets of which each MOVE comes with two file
// descriptors, every descriptor is a session's or closed.
func FuzzTakeOver(f *testing.F) {
	const end = "\x1e"
	for _, x := range movedPackets() {
		script := []string{"STATE\nVERSION=2\n\n", x[0], "DATA\n\n" + x[1], "END\n\n", "GO\n\n"}
		f.Add([]byte(strings.Join(script, end)))
		f.Add([]byte(strings.Join([]string{x[0], "DATA\n\n" + x[1], x[0], "END\n\n"}, end)))
	}
	f.Add([]byte("STATE\nVERSION=1\n\n"))
	f.Add([]byte(strings.Join([]string{"MOVE\nHELD=9999999999\n\n", "DATA\n\nx", "MOVE\nHELD=-1\n\n"}, end)))
	f.Add([]byte(strings.Join([]string{"STATE\nVERSION=2\n\n", "MOVE\nHELD=1\n\n", "DATA\n\n"}, end)))
	f.Fuzz(func(t *testing.T, script []byte) {
		packets := bytes.Split(script, []byte(end))
		if len(packets) > 16 || len(script) > handoff.MaxPacket/2 {
			return
		}
		ours, theirs := packetPair(t)
		defer ours.Close()
		defer theirs.Close()
		var far []int
		sent := make(chan struct{})
		go func() {
			defer close(sent)
			defer func() { _ = theirs.CloseWrite() }()
			for _, p := range packets {
				var rights []byte
				var near [2]int
				move := bytes.HasPrefix(p, []byte("MOVE\n"))
				if move {
					for i := range near {
						pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
						if err != nil {
							panic(err)
						}
						near[i], far = pair[0], append(far, pair[1])
					}
					rights = unix.UnixRights(near[:]...)
				}
				_, _, err := theirs.WriteMsgUnix(p, rights, nil)
				if move {
					closeAll(near[0], near[1])
				}
				if err != nil {
					return
				}
			}
		}()
		all, err := (&Engine{}).receiveAll(ours)
		ours.Close() // and with it what was not received
		<-sent
		defer handoff.CloseAll(far)
		open := 0
		for _, fd := range far {
			n, rerr := unix.Read(fd, make([]byte, 1))
			if errors.Is(rerr, unix.EAGAIN) {
				open++
			} else if n != 0 && rerr == nil {
				t.Fatalf("%q: a session was written to", script)
			}
		}
		if open != 2*len(all) {
			t.Fatalf("%q: %d descriptors are open of %d sessions, %v", script, open, len(all), err)
		}
		for _, s := range all {
			closeAll(s.legs[client].fd, s.legs[mailhost].fd)
		}
	})
}

// TestHeldBounds: what a session may bring along is bounded, before anything of it is read.
func TestHeldBounds(t *testing.T) {
	for _, tc := range []struct {
		held string
		want error
	}{
		{"", handoff.ErrSyntax}, {"-1", handoff.ErrSyntax}, {fmt.Sprint(maxHeld + 1), handoff.ErrSyntax},
		{"99999999999999999999", handoff.ErrSyntax}, {fmt.Sprint(maxHeld), io.EOF}, {"0", nil},
	} {
		ours, theirs := packetPair(t)
		theirs.Close()
		m := &handoff.Message{Verb: "MOVE", Fields: map[string]string{"HELD": tc.held}}
		if held, err := receiveHeld(ours, m); !errors.Is(err, tc.want) || len(held) > 0 {
			t.Errorf("HELD=%s: %d bytes, %v", tc.held, len(held), err)
		}
	}
	ours, theirs := packetPair(t)
	go func(c *net.UnixConn) {
		for range 3 {
			_ = handoff.Send(c, &handoff.Message{Verb: "DATA", Body: make([]byte, chunk)})
		}
	}(theirs)
	m := &handoff.Message{Verb: "MOVE", Fields: map[string]string{"HELD": fmt.Sprint(chunk + 1)}}
	if held, err := receiveHeld(ours, m); err != nil || len(held) > 2*chunk {
		t.Errorf("%d bytes, %v", len(held), err)
	}
}

// TestDurationClockSteps: how long a session has lasted is the time that has passed, however the clock is set
// meanwhile, also in the next process.
func TestDurationClockSteps(t *testing.T) {
	fds := streamPair(t)
	for name, step := range clock.Steps() {
		var c clock.Clock
		begun := c.Now()
		s := newSession(&handoff.Session{Info: relay.Info{Start: begun}}, fds)
		c.Pass(time.Minute)
		c.Set(step)
		m, held := s.encode(c.Now())
		next, err := decode(m, held, fds[:], c.Now())
		if err != nil {
			t.Fatal(err)
		}
		c.Set(-2 * step)
		for who, s := range map[string]*session{"this process": s, "the next one": next} {
			if d := s.stats(c.Now()).Duration; d < 59*time.Second || d > 62*time.Second {
				t.Errorf("%s, %s: the session has lasted %v", name, who, d)
			}
			if start := s.info().Start; start.Unix() != begun.Unix() {
				t.Errorf("%s, %s: it began at %v", name, who, start)
			}
		}
	}
}
