package admin_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"path/filepath"
	"strings"
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
	engine *engine.Engine
	path   string
}

func newTestServer(t *testing.T) *testServer {
	t.Helper()
	e, err := engine.New(engine.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Shutdown(context.Background()) })
	d := &testServer{t: t, engine: e, path: filepath.Join(t.TempDir(), "admin")}
	l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Net: "unixpacket", Name: d.path})
	if err != nil {
		t.Fatal(err)
	}
	stats := func(w io.Writer) { _, _ = io.WriteString(w, strings.Repeat("a 1\n", 100_000)) }
	questions := &admin.Handler{Engine: e, Stats: stats}
	server := &handoff.Server{Allow: peercred.Own(), Most: 16, Silence: time.Minute, Handle: questions.Handle}
	served := make(chan error, 1)
	go func() { served <- server.Serve(context.Background(), l) }()
	t.Cleanup(func() {
		l.Close()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return d
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
	if err := d.engine.Carry(context.Background(), s); err != nil {
		d.t.Fatal(err)
	}
	return far
}

func TestQuestions(t *testing.T) {
	d := newTestServer(t)
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
