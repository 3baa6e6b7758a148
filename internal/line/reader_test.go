package line

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// pair returns two ends of a stream: a real socket, which is peeked at, or a net.Pipe, which is read byte by
// byte.
func pair(t *testing.T, socket bool) (ours, theirs net.Conn) {
	t.Helper()
	if socket {
		fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		conns := make([]net.Conn, 2)
		for i, fd := range fds {
			f := os.NewFile(uintptr(fd), "socketpair")
			if conns[i], err = net.FileConn(f); err != nil {
				t.Fatal(err)
			}
			f.Close()
		}
		ours, theirs = conns[0], conns[1]
	} else {
		ours, theirs = net.Pipe()
	}
	t.Cleanup(func() { ours.Close(); theirs.Close() })
	return ours, theirs
}

func TestReadLine(t *testing.T) {
	const limit = 5000
	longest := strings.Repeat("x", limit)
	cases := []struct {
		name, in string
		want     string
		err      error
		rest     string // what must still stand in the connection
	}{
		{"crlf", "a b\r\nnext", "a b", nil, "next"},
		{"bare LF", "a b\nnext\r\n", "a b", nil, "next\r\n"},
		{"empty", "\r\nx", "", nil, "x"},
		{"CR inside", "a\rb\r\n", "a\rb", nil, ""},
		{"longest", longest + "\r\nx", longest, nil, "x"},
		{"longest, LF", longest + "\nx", longest, nil, "x"},
		{"too long by one", longest + "y\r\nx", longest, ErrTooLong, "x"},
		{"too long by one, LF", longest + "y\nx", longest, ErrTooLong, "x"},
		{"far too long", strings.Repeat(longest, 20) + "\r\nx", longest, ErrTooLong, "x"},
		{"cut short", "abc", "", io.ErrUnexpectedEOF, ""},
		{"nothing", "", "", io.EOF, ""},
		{"cut short, too long", longest + "yyyyy", "", io.ErrUnexpectedEOF, ""},
	}
	for _, socket := range []bool{true, false} {
		for _, c := range cases {
			t.Run(map[bool]string{true: "socket ", false: "pipe "}[socket]+c.name, func(t *testing.T) {
				ours, theirs := pair(t, socket)
				go func() {
					io.WriteString(theirs, c.in)
					theirs.Close()
				}()
				r := NewReader(ours)
				got, err := r.ReadLine(limit)
				if string(got) != c.want || !errors.Is(err, c.err) {
					t.Fatalf("ReadLine = %.20q, %v; want %.20q, %v", got, err, c.want, c.err)
				}
				rest, _ := io.ReadAll(ours)
				if string(rest) != c.rest {
					t.Errorf("left in the connection: %q, want %q", rest, c.rest)
				}
				if want := int64(len(c.in) - len(c.rest)); r.Count() != want {
					t.Errorf("Count = %d, want %d", r.Count(), want)
				}
			})
		}
	}
}

func TestReadLineThenLiteral(t *testing.T) {
	for _, socket := range []bool{true, false} {
		ours, theirs := pair(t, socket)
		go io.WriteString(theirs, "a {3+}\r\nx\ny tail\r\nafter")
		r := NewReader(ours)
		if l, err := r.ReadLine(100); err != nil || string(l) != "a {3+}" {
			t.Fatalf("%q, %v", l, err)
		}
		lit := make([]byte, 3)
		if err := r.ReadFull(lit); err != nil || string(lit) != "x\ny" {
			t.Fatalf("%q, %v", lit, err)
		}
		if l, err := r.ReadLine(100); err != nil || string(l) != " tail" {
			t.Fatalf("%q, %v", l, err)
		}
	}
}

func TestPending(t *testing.T) {
	ours, theirs := pair(t, true)
	r := NewReader(ours)
	if r.Pending() {
		t.Error("bytes pending before any were sent")
	}
	io.WriteString(theirs, "a\r\nb")
	if _, err := r.ReadLine(10); err != nil || !r.Pending() {
		t.Errorf("%v; the byte after the line is not pending", err)
	}
	r.ReadFull(make([]byte, 1))
	theirs.Close()
	if r.Pending() {
		t.Error("the end of the stream is pending")
	}
}

// telling is a connection that can tell whether bytes have come, but is no socket.
type telling struct {
	net.Conn
	pending bool
}

func (c *telling) Pending() bool { return c.pending }

// A connection that cannot be looked into is asked, if it can tell.
func TestPendingIsAsked(t *testing.T) {
	ours, _ := pair(t, false)
	if NewReader(ours).Pending() {
		t.Error("bytes pending in what cannot tell")
	}
	for _, want := range []bool{false, true} {
		if got := NewReader(&telling{ours, want}).Pending(); got != want {
			t.Errorf("%v, want %v", got, want)
		}
	}
}

// A line without end is given up, however long the peer goes on: memory and time stay bounded.
func TestReadLineEndless(t *testing.T) {
	for _, socket := range []bool{true, false} {
		ours, theirs := pair(t, socket)
		go func() {
			chunk := []byte(strings.Repeat("x", 1<<16))
			for {
				if _, err := theirs.Write(chunk); err != nil {
					return
				}
			}
		}()
		r := NewReader(ours)
		if _, err := r.ReadLine(100); !errors.Is(err, ErrEndless) {
			t.Errorf("socket %v: %v", socket, err)
		}
		if n := r.Count(); n > maxEndless+1<<16 {
			t.Errorf("socket %v: %d bytes consumed", socket, n)
		}
	}
}

// After Reset another connection is read, nothing is left of what the first one said, and the count goes on.
func TestReset(t *testing.T) {
	first, client := pair(t, true)
	second, after := pair(t, false)
	go client.Write([]byte("secret\r\nrest\r\n"))
	go after.Write([]byte("next\r\n"))
	r := NewReader(first)
	text, err := r.ReadLine(100)
	if err != nil || string(text) != "secret" {
		t.Fatalf("%q, %v", text, err)
	}
	r.Reset(second)
	if strings.Trim(string(text), "\x00") != "" {
		t.Errorf("%q is left", text)
	}
	if text, err = r.ReadLine(100); err != nil || string(text) != "next" || r.Count() != 14 {
		t.Errorf("%q, %v after %d bytes", text, err, r.Count())
	}
}

// takesBack is a connection as one with TLS is: it cannot be peeked at, but takes back what is too much.
type takesBack struct {
	net.Conn
	back  []byte
	reads int
}

func (c *takesBack) Read(p []byte) (int, error) {
	c.reads++
	if len(c.back) > 0 {
		n := copy(p, c.back)
		c.back = c.back[n:]
		return n, nil
	}
	return c.Conn.Read(p)
}

func (c *takesBack) Unread(p []byte) { c.back = append(bytes.Clone(p), c.back...) }

// What a line does not need is given back, and a long line takes few reads: before a login a stranger sends
// them.
func TestReadLineTakenBack(t *testing.T) {
	ours, theirs := pair(t, false)
	const size = 100 << 10
	go func() {
		_, _ = io.WriteString(theirs, "a\r\n\r\nb\n"+strings.Repeat("x", size)+"\r\nc\r\nrest")
		theirs.Close()
	}()
	conn := &takesBack{Conn: ours}
	r := NewReader(conn)
	for _, want := range []string{"a", "", "b", "xxxxx", "c"} {
		got, err := r.ReadLine(5)
		if string(got) != want || (err != nil) != (want == "xxxxx") || err != nil && !errors.Is(err, ErrTooLong) {
			t.Fatalf("%q, %v; want %q", got, err, want)
		}
	}
	const limit = 5 + 2 // what is read at a time
	if most := size/limit + 100; conn.reads > most {
		t.Errorf("%d reads, want at most %d", conn.reads, most)
	}
	if rest, err := io.ReadAll(conn); err != nil || string(rest) != "rest" {
		t.Errorf("left in the connection: %q, %v", rest, err)
	}
	if n := r.Count(); n != size+12 {
		t.Errorf("%d bytes consumed", n)
	}
}
