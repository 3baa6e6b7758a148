package admin_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"mailproxy/internal/peercred"
	"mailproxy/relay"
	"mailproxy/relay/admin"
	"mailproxy/relay/engine"
	"mailproxy/relay/handoff"
	"mailproxy/tests/relaytest"
)

// testServer is a server on a socket, with an engine.
type testServer struct {
	t      *testing.T
	server *admin.Server
	l      *net.UnixListener
	path   string

	mu  sync.Mutex
	log []string
}

func newTestServer(t *testing.T, allow *peercred.Set) *testServer {
	t.Helper()
	e, err := engine.New(engine.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Shutdown(context.Background()) })
	d := &testServer{t: t, path: filepath.Join(t.TempDir(), "admin")}
	d.l, err = net.ListenUnix("unixpacket", &net.UnixAddr{Net: "unixpacket", Name: d.path})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.l.Close() })
	stats := func(w io.Writer) { _, _ = io.WriteString(w, strings.Repeat("a 1\n", 100_000)) }
	handler := admin.Handler{Engine: e, Stats: stats}
	d.server = &admin.Server{Handler: handler, Allow: allow, Log: func(line string) {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.log = append(d.log, line)
	}}
	return d
}

// serve serves until stop is called.
func (d *testServer) serve() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		d.server.Serve(ctx, d.l)
	}()
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case <-done:
		case <-time.After(30 * time.Second):
			d.t.Error("it does not stop")
		}
	})
	d.t.Cleanup(stop)
	return stop
}

func (d *testServer) ask(m *handoff.Message, limit time.Duration) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	var out bytes.Buffer
	err := handoff.Ask(ctx, d.path, nil, m, &out)
	return out.String(), err
}

func (d *testServer) carry(user, ip string) (far relaytest.Conn) {
	d.t.Helper()
	client, far := relaytest.TCP(d.t, 0)
	mailhost, _ := relaytest.TCP(d.t, 0)
	info := relay.Info{User: user, RemoteIP: ip, RemotePort: "1", Mailhost: "mail1", Start: time.Unix(1e9, 0)}
	s := &relay.Session{Client: client, Mailhost: mailhost, Info: info}
	if err := d.server.Handler.Engine.Carry(context.Background(), s); err != nil {
		d.t.Fatal(err)
	}
	return far
}

func TestQuestions(t *testing.T) {
	d := newTestServer(t, peercred.Own())
	d.serve()
	ann := d.carry("ann", "::ffff:192.0.2.7")
	d.carry("b\x1bb", "2001:db8::7")
	who, err := d.ask(&handoff.Message{Verb: handoff.Who}, time.Minute)
	want := "ann\t[::ffff:192.0.2.7]:1\t\tmail1\t2001-09-09T01:46:40Z\t0\t0\n"
	if err != nil || !strings.Contains(who, want) || !strings.Contains(who, "b\\033b\t") {
		t.Errorf("who: %q, %v", who, err)
	}
	stats, err := d.ask(&handoff.Message{Verb: handoff.Stats}, time.Minute)
	if err != nil || len(stats) != 400_000 {
		t.Errorf("stats: %d bytes, %v", len(stats), err)
	}
	kick := &handoff.Message{Verb: handoff.Kick, Fields: map[string]string{"WHOM": "192.0.2.7"}}
	if n, err := d.ask(kick, time.Minute); n != "1\n" || err != nil {
		t.Errorf("kick: %q, %v", n, err)
	}
	_ = ann.SetReadDeadline(time.Now().Add(30 * time.Second))
	if _, err := ann.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("a kicked client reads %v", err)
	}
	for _, verb := range []string{"CARRY", "REPORT", "NONE"} {
		if _, err := d.ask(&handoff.Message{Verb: verb}, time.Minute); err == nil ||
			!strings.Contains(err.Error(), "unknown request") {
			t.Errorf("%s: %v", verb, err)
		}
	}
}

// TestStopAndGoOn: a server that is stopped, with callers that say nothing, leaves new ones in the queue; one
// that goes on answers them.
func TestStopAndGoOn(t *testing.T) {
	d := newTestServer(t, peercred.Own())
	for range 20 {
		stop := d.serve()
		silent, err := net.Dial("unixpacket", d.path)
		if err != nil {
			t.Fatal(err)
		}
		defer silent.Close()
		if _, err := d.ask(&handoff.Message{Verb: handoff.Who}, time.Minute); err != nil {
			t.Fatal(err)
		}
		stop()
	}
	if _, err := d.ask(&handoff.Message{Verb: handoff.Who}, 50*time.Millisecond); !errors.Is(err,
		context.DeadlineExceeded) {
		t.Errorf("a server that is stopped: %v", err)
	}
	d.serve()
	if _, err := d.ask(&handoff.Message{Verb: handoff.Who}, time.Minute); err != nil {
		t.Error(err)
	}
}

// TestStrangersAreRefused: who may not ask gets nothing, and the log has one line.
func TestStrangersAreRefused(t *testing.T) {
	d := newTestServer(t, &peercred.Set{})
	d.serve()
	for range 3 {
		if out, err := d.ask(&handoff.Message{Verb: handoff.Who}, time.Minute); !errors.Is(err,
			handoff.ErrClosed) || out != "" {
			t.Errorf("%q, %v", out, err)
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.log) != 1 || !strings.HasPrefix(d.log[0], "ERR: admin socket: a caller may not use this socket: ") {
		t.Errorf("log: %q", d.log)
	}
}
