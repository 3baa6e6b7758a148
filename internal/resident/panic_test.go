package resident

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"mailproxy/authlib"
	"mailproxy/internal/config"
	"mailproxy/internal/frontend"
	"mailproxy/internal/launch"
	"mailproxy/internal/login"
	"mailproxy/internal/maillog"
	"mailproxy/internal/tlsconf"
	"mailproxy/relay/engine"
)

// noAccounts is an auth module that knows nobody.
type noAccounts struct{}

func (noAccounts) Authenticate(context.Context, *authlib.AuthRequest) (*authlib.Account, error) {
	return nil, authlib.ErrRefused
}

func (noAccounts) Lookup(context.Context, *authlib.LookupRequest) (*authlib.Account, error) {
	return nil, authlib.ErrRefused
}

// record is a log that may be read while it is written.
type record struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (r *record) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.Write(p)
}

func (r *record) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.String()
}

// serving is a service with a dialogue of the test's, and how to connect to it.
func serving(
	t *testing.T, dialogue func(c *frontend.Conn) frontend.Dialogue,
) (dial func() net.Conn, log *record, s *service) {
	t.Helper()
	c, err := config.Load(nil, nil, config.IMAP)
	if err != nil {
		t.Fatal(err)
	}
	log = &record{}
	s = &service{log: maillog.NewLog(log), sockets: &launch.Sockets{}, conns: newConnections(10),
		statistics: newStatistics(), certificates: &tlsconf.Memory{}}
	s.refuser = newRefuser(10, "* BYE", s.log)
	s.server, err = frontend.New(frontend.Options{
		Protocol: &frontend.Protocol{
			Protocol: login.Protocol{Name: "IMAP", Service: "imap"}, NewDialogue: dialogue,
		},
		Config: c, Log: s.log, Auth: noAccounts{},
	})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.sockets.Listeners = []*launch.Listener{{Listener: l}}
	if s.engine, err = engine.New(engine.Config{}); err != nil {
		t.Fatal(err)
	}
	s.predecessors = newPredecessors(s.log, s.engine, nil)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.run(ctx, nil) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return func() net.Conn {
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		_ = conn.SetDeadline(time.Now().Add(5 * time.Minute))
		return conn
	}, log, s
}

// echo is a dialogue that says everything back. "fault" is one.
type echo struct{ c *frontend.Conn }

func (echo) Greeting() string          { return "hello" }
func (echo) Farewell(login.End) string { return "" }
func (echo) Capabilities() []string    { return nil }

func (e echo) Next(context.Context) error {
	text, err := e.c.In.ReadLine(100)
	if err != nil {
		return err
	}
	if string(text) == "fault" {
		panic("a fault in the dialogue")
	}
	return e.c.Reply(string(text))
}

// A panic in what serves one connection closes it, is in the log with its stack, gives its slot back, and
// nobody else notices.
func TestPanicEndsOneConnection(t *testing.T) {
	connect, log, s := serving(t, func(c *frontend.Conn) frontend.Dialogue { return echo{c} })
	say := func(conn net.Conn, text string) (string, error) {
		if _, err := io.WriteString(conn, text+"\n"); err != nil {
			return "", err
		}
		return bufio.NewReader(conn).ReadString('\n')
	}
	dial := func() net.Conn {
		conn := connect()
		if text, err := bufio.NewReader(conn).ReadString('\n'); text != "hello\r\n" || err != nil {
			t.Fatalf("greeting %q, %v", text, err)
		}
		return conn
	}
	before := dial()
	for range 30 { // more than there are slots
		faulty := dial()
		if _, err := say(faulty, "hello"); err != nil {
			t.Fatal(err)
		}
		if text, err := say(faulty, "fault"); !errors.Is(err, io.EOF) {
			t.Errorf("the faulty connection: %q, %v, want its end", text, err)
		}
		deadline := time.Now().Add(30 * time.Second)
		for s.conns.count() > 1 && time.Now().Before(deadline) {
			time.Sleep(time.Millisecond)
		}
		if text, err := say(before, "still here"); text != "still here\r\n" || err != nil {
			t.Fatalf("another connection: %q, %v", text, err)
		}
	}
	if text, err := say(dial(), "new"); text != "new\r\n" || err != nil {
		t.Errorf("a new connection: %q, %v", text, err)
	}
	for _, want := range []string{
		"ERR: panic in the connection with ip=[", "a fault in the dialogue", "panic_test.go",
	} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log has no %q:\n%s", want, log)
		}
	}
}
