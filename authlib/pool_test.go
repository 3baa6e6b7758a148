package authlib

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// secondSocket is a daemon's second socket, whose questions a test answers.
type secondSocket struct {
	conns, questions atomic.Int64
}

// handler answers a question; the connection ends when it returns false.
type handler func(c net.Conn, number uint64, user string) bool

// listenSecond makes the second socket of c: each connection is greeted, and handle called for each question.
func listenSecond(t *testing.T, c *Client, greeting string, handle handler) *secondSocket {
	t.Helper()
	l, err := net.Listen("unix", PersistentSocket(c.Socket))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	s := new(secondSocket)
	serve := func(conn net.Conn) {
		defer conn.Close()
		s.conns.Add(1)
		_, _ = io.WriteString(conn, greeting)
		for buf := make([]byte, 0, maxQuestion); ; {
			n, err := conn.Read(buf[len(buf):cap(buf)])
			if err != nil {
				return
			}
			buf = buf[:len(buf)+n]
			number, req, err := ParseQuestion(buf)
			if Incomplete(err) {
				continue
			}
			if err != nil {
				t.Errorf("%q: %v", buf, err)
				return
			}
			buf = buf[:0]
			s.questions.Add(1)
			user, _ := req.(*AuthRequest).Login()
			if !handle(conn, number, user) {
				return
			}
		}
	}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go serve(conn)
		}
	}()
	return s
}

// yes answers with an account of that name.
func yes(c net.Conn, number uint64, user string) bool {
	_, err := c.Write(AppendAnswer(nil, number, []byte("ADDRESS="+user+"\n.\n")))
	return err == nil
}

// ask logs a user in and returns the address, or what went wrong.
func ask(ctx context.Context, c *Client, user string) string {
	req := &AuthRequest{Service: "imap", Type: AuthLogin, User: user, Password: "geheim"}
	a, err := c.Authenticate(ctx, req)
	if err != nil {
		return err.Error()
	}
	return a.Address
}

func TestKeptConnection(t *testing.T) {
	c := reply(t, "ADDRESS=first\n.\n")
	s := listenSecond(t, c, Greeting, func(c net.Conn, number uint64, user string) bool {
		switch user {
		case "no":
			_, _ = c.Write(AppendAnswer(nil, number, AppendRefusal(nil, ErrRefused)))
		case "later":
			_, _ = c.Write(AppendTempfail(nil, number))
		case "odd":
			_, _ = c.Write(AppendAnswer(nil, number, []byte("UID=0\n.\n")))
		default:
			return yes(c, number, user)
		}
		return true
	})
	if got := ask(t.Context(), c, "ann"); got != "first" {
		t.Errorf("without Keep: %s", got)
	}
	c.Keep = 1
	where := "authdaemond at " + PersistentSocket(c.Socket)
	for _, test := range []struct{ user, want string }{
		{"ann", "ann"}, {"no", ErrRefused.Error()},
		{"later", where + ": read: temporary failure, its log says why"},
		{"odd", where + `: read: account "" cannot be used: UID="0": `}, {"bob", "bob"},
	} {
		if got := ask(t.Context(), c, test.user); !strings.HasPrefix(got, test.want) {
			t.Errorf("%s: %s", test.user, got)
		}
	}
	if s.conns.Load() != 1 || s.questions.Load() != 5 {
		t.Errorf("%d connections, %d questions", s.conns.Load(), s.questions.Load())
	}
	// What the daemon cannot be told is not sent, and the list is for the first socket.
	if got := ask(t.Context(), c, "a\nb"); !strings.Contains(got, "control character") {
		t.Errorf("got %s", got)
	}
	if err := c.Enumerate(t.Context(), func(*Account) error { return nil }); !errors.Is(err, ErrProtocol) {
		t.Errorf("Enumerate on the first socket: %v", err)
	}
	c.Close()
	if got := ask(t.Context(), c, "ann"); got != "ann" || len(c.pool.idle) != 0 {
		t.Errorf("after Close: %s, %d kept", got, len(c.pool.idle))
	}
}

// TestKeptFaults: what the daemon does on a connection that was kept, after one good answer.
func TestKeptFaults(t *testing.T) {
	write := func(text string, proceed bool) func(net.Conn, uint64) bool {
		return func(c net.Conn, number uint64) bool {
			_, _ = io.WriteString(c, strings.ReplaceAll(text, "#", fmt.Sprint(number)))
			return proceed
		}
	}
	const cut = "closed without an answer (temporary failure, its log says why): unexpected EOF"
	const garbage = "answer: not an authdaemon message"
	for name, test := range map[string]struct {
		second    func(net.Conn, uint64) bool // nil = closes when the first is answered
		want      string
		questions int64
	}{
		"closed while idle":        {nil, "ann", 2},
		"closed without an answer": {write("", false), "ann", 3},
		"dies in the answer":       {write("ANSWER # 15\nADDRESS=", false), cut, 2},
		"dies in the first byte":   {write("A", false), cut, 2},
		"garbage":                  {write("220 hello\r\n", true), garbage, 2},
		"another's answer":         {write("ANSWER 1 15\nADDRESS=root\n.\n", true), garbage, 2},
		"more than an answer":      {write("ANSWER # 5\nFAIL\nANSWER # 5\nFAIL\n", true), garbage, 2},
		"silent":                   {write("", true), "i/o timeout", 2},
	} {
		c := reply(t, "ADDRESS=first\n.\n")
		c.Keep = 4
		var asked atomic.Int64
		s := listenSecond(t, c, Greeting, func(conn net.Conn, number uint64, user string) bool {
			switch n := asked.Add(1); {
			case n == 2 && test.second != nil:
				return test.second(conn, number)
			case n == 1 && test.second == nil:
				yes(conn, number, user)
				return false
			}
			return yes(conn, number, user)
		})
		for i, want := range []string{"ann", test.want, "ann"} {
			c.ReadTimeout = 0
			if name == "silent" && i == 1 {
				c.ReadTimeout = 200 * time.Millisecond
			}
			if got := ask(t.Context(), c, "ann"); !strings.HasSuffix(got, want) || strings.Contains(got, "geheim") {
				t.Errorf("%s: question %d: %s, want %s", name, i+1, got, want)
			}
		}
		if s.questions.Load() != test.questions+1 || s.conns.Load() != 2 {
			t.Errorf("%s: %d questions on %d connections, want %d on 2",
				name, s.questions.Load(), s.conns.Load(), test.questions+1)
		}
	}
	// On a fresh connection no answer is a temporary failure: no endless asking.
	c := reply(t, "ADDRESS=first\n.\n")
	c.Keep = 4
	s := listenSecond(t, c, Greeting, func(net.Conn, uint64, string) bool { return false })
	got := ask(t.Context(), c, "ann")
	const hungUp = "closed without an answer (temporary failure, its log says why)"
	if !strings.HasSuffix(got, hungUp) || s.questions.Load() != 1 {
		t.Errorf("%s, %d questions", got, s.questions.Load())
	}
}

// TestNoSecondSocket: Courier's daemon, and one of another version, are asked on the first socket; a second
// socket that comes is found.
func TestNoSecondSocket(t *testing.T) {
	c := reply(t, "ADDRESS=first\n.\n")
	c.Keep = 1
	for range 3 {
		if got := ask(t.Context(), c, "ann"); got != "first" {
			t.Fatal(got)
		}
	}
	if left := time.Until(c.pool.absent); c.pool.absent.IsZero() || left > absentTime {
		t.Errorf("looked for again in %v", left)
	}
	c.pool.absent = time.Now().Add(time.Hour)
	s := listenSecond(t, c, Greeting, yes)
	if got := ask(t.Context(), c, "ann"); got != "first" || s.conns.Load() != 0 {
		t.Errorf("it was looked for at once: %s", got)
	}
	c.pool.absent = time.Now()
	if got := ask(t.Context(), c, "ann"); got != "ann" {
		t.Errorf("after an upgrade: %s", got)
	}
	for greeting, absent := range map[string]bool{
		"AUTHDAEMON 2\n": true, "* OK\r\n": true, strings.Repeat("x", 100): true, "": false, "AUTHD": false,
	} {
		c := reply(t, "ADDRESS=first\n.\n")
		c.Keep = 1
		l, err := net.Listen("unix", PersistentSocket(c.Socket))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				_, _ = io.WriteString(conn, greeting)
				conn.Close()
			}
		}()
		if got := ask(t.Context(), c, "ann"); got != "first" || c.pool.isAbsent() != absent {
			t.Errorf("%q: %s, %v", greeting, got, c.pool.isAbsent())
		}
	}
}

// TestKeptMany: each question has a connection of its own, and gets its own answer; a slow one delays nobody;
// Keep and connections hold.
func TestKeptMany(t *testing.T) {
	c := reply(t, "")
	c.Keep, c.connections = 3, 20
	release := make(chan struct{})
	s := listenSecond(t, c, Greeting, func(conn net.Conn, number uint64, user string) bool {
		if user == "slow" {
			<-release
		}
		return yes(conn, number, user)
	})
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			if got := ask(t.Context(), c, "slow"); got != "slow" {
				t.Error(got)
			}
		})
	}
	var others sync.WaitGroup
	for i := range 8 {
		others.Go(func() {
			for j := range 50 {
				user := fmt.Sprintf("user%d-%d", i, j)
				if got := ask(t.Context(), c, user); got != user {
					t.Errorf("%s was told of %s", user, got)
				}
			}
		})
	}
	others.Wait()
	close(release)
	wg.Wait()
	if got := len(c.pool.idle); got != 3 {
		t.Errorf("%d kept", got)
	}
	if got := s.questions.Load(); got != 410 {
		t.Errorf("%d questions", got)
	}
}

// TestKeptContext: the end of a context ends the wait for a connection and the wait for an answer, and such a
// connection serves nobody else.
func TestKeptContext(t *testing.T) {
	c := reply(t, "")
	c.Keep, c.connections = 1, 1
	asked := make(chan struct{}, 1)
	s := listenSecond(t, c, Greeting, func(conn net.Conn, number uint64, user string) bool {
		if user != "slow" {
			return yes(conn, number, user)
		}
		asked <- struct{}{}
		_, _ = conn.Read(make([]byte, 1)) // until the client has closed
		return false
	})
	ctx, cancel := context.WithCancelCause(t.Context())
	done := make(chan error)
	go func() {
		req := &AuthRequest{Service: "imap", Type: AuthLogin, User: "slow", Password: "x"}
		_, err := c.Authenticate(ctx, req)
		done <- err
	}()
	<-asked
	short, cancelShort := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancelShort()
	_, err := c.Authenticate(short, ann)
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "waiting for a connection") {
		t.Errorf("waiting: %v", err)
	}
	gone := errors.New("the client is gone")
	cancel(gone)
	if err := <-done; !errors.Is(err, gone) {
		t.Errorf("cancelled: %v", err)
	}
	if got := ask(t.Context(), c, "ann"); got != "ann" || s.conns.Load() != 2 {
		t.Errorf("%s, %d connections", got, s.conns.Load())
	}
}

// TestKeptListener: who listens on the second socket is checked as on the first.
func TestKeptListener(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("these tests need root")
	}
	c := reply(t, "ADDRESS=first\n.\n")
	c.Keep = 1
	dialed := 0
	c.dialer = func(_ context.Context, socket string, _ time.Duration) (net.Conn, error) {
		if socket == PersistentSocket(c.Socket) {
			dialed++
			ours, _ := net.Pipe() // no socket: nobody who can be checked
			return ours, nil
		}
		return net.Dial("unix", socket)
	}
	if got := ask(t.Context(), c, "ann"); !strings.HasSuffix(got, "who listens: not a socket") || dialed != 1 {
		t.Errorf("%s, %d", got, dialed)
	}
}
