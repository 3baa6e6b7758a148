package frontend

import (
	"io"
	"strings"
	"sync"
	"testing"

	"mailproxy/internal/launch"
)

// A panic ends its own connection, with the stack in the log, and no other one.
func TestServeConnPanic(t *testing.T) {
	protocol := imap
	protocol.NewDialogue = func(c *Conn) Dialogue { return echo{c} }
	w := newWorld(t, protocol)
	statuses := make(map[string]int)
	var mu sync.Mutex
	var served sync.WaitGroup
	for _, say := range []string{"panic\n", "quit\n"} {
		client, conn := tcpPair(t)
		served.Go(func() {
			status := w.server.ServeConn(t.Context(), conn, launch.Peer{RemoteIP: "192.0.2.7", RemotePort: "1"})
			mu.Lock()
			defer mu.Unlock()
			statuses[say] = status
		})
		_, _ = io.WriteString(client, say)
		text, err := io.ReadAll(client)
		want := map[string]string{"panic\n": "hello\r\n", "quit\n": "hello\r\nquit\r\nbye\r\n"}[say]
		if string(text) != want || err != nil {
			t.Errorf("%q: read %q, %v", say, text, err)
		}
	}
	served.Wait()
	if statuses["panic\n"] != 1 || statuses["quit\n"] != 0 {
		t.Errorf("statuses %v", statuses)
	}
	log := w.log.String()
	first := "ERR: panic in the connection with ip=[192.0.2.7], port=[1], which ends: a fault\n"
	if !strings.Contains(log, first) || !strings.Contains(log, "TestServeConnPanic") {
		t.Errorf("log %s", log)
	}
	for line := range strings.Lines(log) {
		if !strings.HasPrefix(line, "ERR: ") && !strings.Contains(line, ", ip=[192.0.2.7], ") {
			t.Errorf("log line %q", line)
		}
	}
}

// What a Server lacks is said when it is made.
func TestNewRefuses(t *testing.T) {
	w := newWorld(t, imap)
	for name, change := range map[string]func(o *Options){
		"no settings": func(o *Options) { o.Config = nil },
		"no auth":     func(o *Options) { o.Auth = nil },
		"no maildir":  func(o *Options) { o.Args = nil },
	} {
		o := w.server.Options
		change(&o)
		if _, err := New(o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
