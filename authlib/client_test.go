package authlib

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// serve listens on a new socket and has handle take each connection.
func serve(t *testing.T, handle func(net.Conn)) *Client {
	t.Helper()
	path := filepath.Join(t.TempDir(), "socket")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				handle(c)
			}()
		}
	}()
	return &Client{Socket: path}
}

// reply answers every request with a text.
func reply(t *testing.T, text string) *Client {
	return serve(t, func(c net.Conn) {
		if _, err := ReadRequest(c); err == nil {
			_, _ = io.WriteString(c, text)
		}
	})
}

var ann = &AuthRequest{Service: "imap", Type: AuthLogin, User: "ann", Password: "geheim"}

func TestClientAnswers(t *testing.T) {
	ctx := context.Background()
	const cut = "read: closed without an answer (temporary failure, its log says why): unexpected EOF"
	for text, want := range map[string]string{
		"ADDRESS=ann@x\n.\n": "ann@x",
		"FAIL\n":             "no such account, or wrong password",
		"":                   cut,
		"ADDRESS=ann@x\n":    cut,
		"220 hello\r\n":      "read: answer: not an authdaemon message",
	} {
		c := reply(t, text)
		a, err := c.Authenticate(ctx, ann)
		got := ""
		if err != nil {
			got = err.Error()
			if errors.Is(err, ErrRefused) != (text == "FAIL\n") {
				t.Errorf("%q: %v: refused or not?", text, err)
			}
			if !errors.Is(err, ErrRefused) && !strings.Contains(got, c.Socket) || strings.Contains(got, "geheim") {
				t.Errorf("%q: %v", text, err)
			}
		} else {
			got = a.Address
		}
		if !strings.HasSuffix(got, want) {
			t.Errorf("%q: %s; want %s", text, got, want)
		}
	}
	if a, err := reply(t, "ADDRESS=x\n.\n").Lookup(ctx,
		&LookupRequest{Service: "imap", User: "x"}); err != nil || a.Address != "x" {
		t.Errorf("Lookup: %+v, %v", a, err)
	}
	for text, want := range map[string]error{"OK\n": nil, "FAIL\n": ErrRefused, "": io.ErrUnexpectedEOF,
		"garbage\n": ErrProtocol, "OKAY": io.ErrUnexpectedEOF} {
		err := reply(t, text).ChangePassword(ctx, &PasswordRequest{Service: "imap", User: "a", OldPassword: "b",
			NewPassword: "c"})
		if !errors.Is(err, want) || want == nil && err != nil {
			t.Errorf("ChangePassword, %q: %v", text, err)
		}
	}
	var names string
	err := reply(t, "# x\n\na\t1\t2\t/\t\t\nb\t1\t2\t/\t\t\n.\n").Enumerate(ctx,
		func(a *Account) error { names += a.Address; return nil })
	if err != nil || names != "ab" {
		t.Errorf("Enumerate: %q, %v", names, err)
	}
	stop := errors.New("stop")
	if err := reply(t, "a\t1\t2\t/\t\t\n.\n").Enumerate(ctx,
		func(*Account) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("Enumerate: %v", err)
	}
}

// TestClientEarlyAnswer: a daemon that answers and closes before it has read everything is still heard.
func TestClientEarlyAnswer(t *testing.T) {
	c := serve(t, func(c net.Conn) { _, _ = io.WriteString(c, "FAIL\n") })
	for range 20 {
		if _, err := c.Authenticate(context.Background(), ann); err == nil {
			t.Fatal("no error")
		}
	}
}

func TestClientRefusesControl(t *testing.T) {
	c := serve(t, func(net.Conn) { t.Error("something was sent") })
	_, err := c.Authenticate(context.Background(), &AuthRequest{Service: "imap", Type: AuthLogin, User: "a",
		Password: "pw\njunk"})
	if !errors.Is(err, ErrRefused) || strings.Contains(err.Error(), "junk") {
		t.Errorf("got %v", err)
	}
}

func TestClientTimeouts(t *testing.T) {
	silent := serve(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
	silent.ReadTimeout = 50 * time.Millisecond
	start := time.Now()
	_, err := silent.Authenticate(context.Background(), ann)
	if !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) > 30*time.Second {
		t.Errorf("silent daemon: %v after %v", err, time.Since(start))
	}
	silent.ReadTimeout = -1
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	start = time.Now()
	if _, err := silent.Authenticate(ctx, ann); !errors.Is(err, context.DeadlineExceeded) ||
		time.Since(start) > 30*time.Second {
		t.Errorf("context: %v after %v", err, time.Since(start))
	}
	done, cancel2 := context.WithCancel(context.Background())
	cancel2()
	if _, err := silent.Authenticate(done, ann); !errors.Is(err, context.Canceled) {
		t.Errorf("context that has ended: %v", err)
	}
	// A full backlog: connecting waits.
	if got := positive(0, DefaultConnectTimeout); got != 10*time.Second {
		t.Errorf("default connect timeout %v", got)
	}
	if got := positive(0, DefaultReadTimeout); got != 30*time.Second {
		t.Errorf("default read timeout %v", got)
	}
}

func TestClientNobodyListens(t *testing.T) {
	dir := t.TempDir()
	stale := filepath.Join(dir, "stale")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: stale, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	for _, path := range []string{stale, filepath.Join(dir, "missing")} {
		c := &Client{Socket: path}
		_, err := c.Authenticate(context.Background(), ann)
		if err == nil || errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "is authdaemond running?") ||
			!strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", path, err)
		}
		c.OneShot = func(context.Context) (net.Conn, error) {
			ours, theirs := net.Pipe()
			go func() {
				defer theirs.Close()
				if _, err := ReadRequest(theirs); err == nil {
					_, _ = io.WriteString(theirs, "ADDRESS=oneshot\n.\n")
				}
			}()
			return ours, nil
		}
		if a, err := c.Authenticate(context.Background(), ann); err != nil || a.Address != "oneshot" {
			t.Errorf("%s: one-shot: %+v, %v", path, a, err)
		}
		c.OneShot = func(context.Context) (net.Conn, error) { return nil, errors.New("no such program") }
		if _, err := c.Authenticate(context.Background(), ann); err == nil ||
			!strings.Contains(err.Error(), "no such program") {
			t.Errorf("%s: %v", path, err)
		}
	}
	// Somebody listens, but does not let us in: that is no reason to start another daemon.
	c := &Client{Socket: dir, OneShot: func(context.Context) (net.Conn,
		error) {
		t.Error("started one")
		return nil, io.EOF
	}}
	c.Socket = filepath.Join(dir, "x", "y")
	if err := os.WriteFile(filepath.Join(dir, "x"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Authenticate(context.Background(), ann); err == nil {
		t.Error("no error")
	}
}

// However many questions come at once while nobody listens, few programs are started at once; the other
// questions wait, as long as they may, and a daemon that is back by then is asked.
func TestClientStartsFew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var running atomic.Int32
		var back atomic.Bool
		daemon := func() net.Conn {
			ours, theirs := net.Pipe()
			go func() {
				defer theirs.Close()
				if _, err := ReadRequest(theirs); err == nil {
					time.Sleep(time.Second)
					_, _ = io.WriteString(theirs, "ADDRESS=ann\n.\n")
				}
			}()
			return ours
		}
		c := &Client{Socket: "/nonexistent/socket", ReadTimeout: time.Minute}
		c.dialer = func(context.Context, string, time.Duration) (net.Conn, error) {
			if back.Load() {
				return nil, syscall.EACCES // a daemon of which this test knows by the error
			}
			return nil, syscall.ENOENT
		}
		c.OneShot = func(context.Context) (net.Conn, error) {
			if n := running.Add(1); n > maxStarted {
				t.Errorf("%d programs at once", n)
			}
			return &counted{daemon(), &running}, nil
		}
		var wg sync.WaitGroup
		var answered, impatient, asked atomic.Int32
		for i := range 5 * maxStarted {
			wg.Go(func() {
				ctx := t.Context()
				if i%5 == 0 {
					var cancel func()
					ctx, cancel = context.WithTimeout(ctx, 1500*time.Millisecond)
					defer cancel()
				}
				switch _, err := c.Authenticate(ctx, ann); {
				case err == nil:
					answered.Add(1)
				case errors.Is(err, syscall.EACCES):
					asked.Add(1)
				case errors.Is(err, context.DeadlineExceeded):
					impatient.Add(1)
				default:
					t.Error(err)
				}
			})
		}
		time.Sleep(2500 * time.Millisecond)
		back.Store(true)
		wg.Wait()
		if answered.Load() > 3*maxStarted || asked.Load() == 0 || running.Load() != 0 {
			t.Errorf("%d answered, %d asked the daemon, %d gave up, %d left",
				answered.Load(), asked.Load(), impatient.Load(), running.Load())
		}
		// Each has given its slot back.
		c.OneShot = func(context.Context) (net.Conn, error) { return nil, io.ErrNoProgress }
		back.Store(false)
		for range 2 * maxStarted {
			if _, err := c.Authenticate(t.Context(), ann); !errors.Is(err, io.ErrNoProgress) {
				t.Fatal(err)
			}
		}
	})
}

// counted is a connection that is counted until it is closed.
type counted struct {
	net.Conn
	running *atomic.Int32
}

func (c *counted) Close() error {
	c.running.Add(-1)
	return c.Conn.Close()
}

func TestStarter(t *testing.T) {
	answers := &Starter{Program: "/bin/sh", Args: []string{"-c", "ignored"}}
	// "sh -once ..." is no valid call: the program ends at once, which is a temporary failure and leaves no
	// child.
	c := &Client{Socket: "/nonexistent/socket", OneShot: answers.Start}
	if _, err := c.Authenticate(context.Background(), ann); err == nil || errors.Is(err, ErrRefused) {
		t.Errorf("got %v", err)
	}
	missing := &Starter{Program: "/nonexistent/authdaemond"}
	if _, err := missing.Start(context.Background()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}
