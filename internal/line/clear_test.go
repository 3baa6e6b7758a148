package line

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

// What was read is not kept: a line is overwritten by the next call, and everything by Clear.
func TestClear(t *testing.T) {
	for _, socket := range []bool{true, false} {
		// The longer ones do not fit into the first buffers.
		for _, length := range []int{10, firstRoom - 2, firstRoom, 1000, 3 * mostRoom} {
			t.Run(fmt.Sprint(socket, length), func(t *testing.T) {
				ours, theirs := pair(t, socket)
				secret := strings.Repeat("s", length)
				go theirs.Write([]byte(secret + "\r\n" + secret + "\r\n"))
				r := NewReader(ours)
				first, err := r.ReadLine(1 << 20)
				if err != nil || string(first) != secret {
					t.Fatalf("%q, %v", first, err)
				}
				room := first[:cap(first)]
				second, err := r.ReadLine(1 << 20)
				if err != nil || string(second) != secret {
					t.Fatalf("%q, %v", second, err)
				}
				if bytes.IndexByte(room, 's') >= 0 {
					t.Error("the first line is still there")
				}
				room = second[:cap(second)]
				r.Clear()
				if bytes.IndexByte(room, 's') >= 0 || bytes.IndexByte(r.buf, 's') >= 0 {
					t.Error("Clear leaves something")
				}
			})
		}
	}
}

// A line that grows leaves no copies behind.
func TestAppendClearing(t *testing.T) {
	line := appendClearing(nil, []byte("abc"))
	old := line[:cap(line)]
	line = appendClearing(line, bytes.Repeat([]byte("d"), 1000))
	if strings.Trim(string(old), "\x00") != "" || !bytes.HasPrefix(line, []byte("abcd")) {
		t.Errorf("%q is left of %q", old, line)
	}
}

// A client that says nothing costs the first buffer; a long line is read through the large one.
func TestRoom(t *testing.T) {
	ours, theirs := pair(t, true)
	r := NewReader(ours)
	go theirs.Write([]byte("short\r\n"))
	if _, err := r.ReadLine(100_000); err != nil || len(r.buf) != firstRoom {
		t.Errorf("%d bytes for a short line, %v", len(r.buf), err)
	}
	go theirs.Write([]byte(strings.Repeat("x", 50_000) + "\r\n"))
	if _, err := r.ReadLine(100_000); err != nil || len(r.buf) != mostRoom {
		t.Errorf("%d bytes for a long line, %v", len(r.buf), err)
	}
}
