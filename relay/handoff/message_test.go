package handoff

import (
	"bytes"
	"errors"
	"maps"
	"testing"

	"golang.org/x/sys/unix"
)

func TestDecode(t *testing.T) {
	for _, tc := range []struct {
		packet string
		ok     bool
	}{
		{"START\n\n", true},
		{"SESSION\nUSER=ann=x\nIP=\n\n", true},
		{"DATA\nSIDE=0\n\n\x00\n\nbytes", true},
		{"", false}, {"\n\n", false}, {"start\n\n", false}, {"START", false}, {"START\n", false},
		{"SESSION\nUSER\n\n", false}, {"SESSION\nuser=x\n\n", false},
		{"SESSION\nU=a\nU=b\n\n", false}, {"SESSION\nU=a\x00\n\n", false},
		{"S\n\n" + string(make([]byte, MaxPacket)), false},
	} {
		m, err := Decode([]byte(tc.packet))
		if (err == nil) != tc.ok {
			t.Errorf("%.40q: %v, %v", tc.packet, m, err)
		}
	}
}

func TestEncodeRefuses(t *testing.T) {
	for _, m := range []Message{{}, {Verb: "a"}, {Verb: "A", Fields: map[string]string{"X": "a\nb"}},
		{Verb: "A", Fields: map[string]string{"x": ""}},
		{Verb: "A", Fields: map[string]string{"X": "a\x00b"}}, {Verb: "A", Body: make([]byte, MaxPacket)}} {
		if p, err := m.Encode(); err == nil {
			t.Errorf("%v became %q", m, p)
		}
	}
}

// FuzzDecode: what is read can be written, and reads the same again.
func FuzzDecode(f *testing.F) {
	f.Add([]byte("START\n\n"))
	f.Add([]byte("SESSION\nUSER=ann\nIP=::ffff:192.0.2.7\nPORT=4711\n\n"))
	f.Add([]byte("DATA\nSIDE=1\n\n\x17\x03\x03\n\n"))
	f.Add([]byte("A\nB=\n\n\n\n"))
	f.Fuzz(func(t *testing.T, p []byte) {
		m, err := Decode(p)
		if err != nil {
			return
		}
		q, err := m.Encode()
		if err != nil {
			t.Fatalf("%q was read and cannot be written: %v", p, err)
		}
		n, err := Decode(q)
		if err != nil || n.Verb != m.Verb || !maps.Equal(n.Fields, m.Fields) || !bytes.Equal(n.Body, m.Body) {
			t.Fatalf("%q became %q: %v", p, q, err)
		}
	})
}

func TestSendReceive(t *testing.T) {
	ca, cb := socketPair(t)
	sent := &Message{Verb: "SESSION", Fields: map[string]string{"USER": "ann"}, Body: []byte("x\n\n")}
	if err := Send(ca, sent, 0, 1); err != nil {
		t.Fatal(err)
	}
	m, fds, err := Receive(cb)
	defer CloseAll(fds)
	if err != nil || m.Verb != "SESSION" || m.Fields["USER"] != "ann" || string(m.Body) != "x\n\n" ||
		len(fds) != 2 {
		t.Fatalf("%v %v %v", m, fds, err)
	}
	if flags, err := unix.FcntlInt(uintptr(fds[0]), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
		t.Error("a received descriptor would leak into programs")
	}
	ca.Close()
	if _, _, err := Receive(cb); err == nil || errors.Is(err, ErrSyntax) {
		t.Errorf("after the other end closed: %v", err)
	}
}
