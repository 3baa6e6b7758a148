package frontend

import (
	"context"
	"io"
	"strings"
	"testing"

	"mailproxy/internal/login"
)

// echo is a dialogue that says everything back, and ends with "quit".
type echo struct{ c *Conn }

func (echo) Greeting() string { return "hello" }
func (echo) Farewell(end login.End) string {
	return map[login.End]string{login.EndTimeout: "late"}[end]
}
func (echo) Capabilities() []string { return nil }

func (e echo) Next(context.Context) error {
	line, err := e.c.In.ReadLine(100)
	if err != nil {
		return err
	}
	if string(line) == "panic" {
		panic("a fault")
	}
	if err := e.c.Reply(string(line)); err != nil || string(line) != "quit" {
		return err
	}
	e.c.LogLogout()
	return e.c.Bye(Done, "bye")
}

// How a session ends: what the client reads, the exit status, and the line in the log.
func TestServe(t *testing.T) {
	const begins, ends = "DEBUG: Connection, " + from, "DEBUG: Disconnected, " + from + ", time=0"
	for _, test := range []struct {
		name    string
		say     string
		setting string
		end     func(w *world, stop func())
		reads   string
		status  Exit
		last    string
	}{
		{"the client leaves", "a\n", "", func(w *world, _ func()) { _ = w.client.CloseWrite() },
			"hello\r\na\r\n", Done, ends},
		{"its time is over", "a\n", "LOGIN_TIMEOUT=1", nil,
			"hello\r\na\r\nlate\r\n", Failed, "INFO: TIMEOUT, " + from + ", time=0"},
		{"a signal", "a\n", "", func(_ *world, stop func()) { stop() },
			"hello\r\na\r\n", Done, "NOTICE: Disconnected during shutdown by signal, " + from + ", time=0"},
		// It may have said more than was read: that does not take its last reply away.
		{"it is sent away", "a\nquit\n" + strings.Repeat("x", 10_000), "", nil,
			"hello\r\na\r\nquit\r\nbye\r\n", Done, "INFO: LOGOUT, " + from + ", rcvd=7, sent=16"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			protocol := imap
			protocol.NewDialogue = func(c *Conn) Dialogue { return echo{c} }
			w := newWorld(t, protocol, test.setting)
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			defer w.begin(ctx)()
			status := make(chan Exit, 1)
			go func() {
				status <- w.serve(ctx)
				_ = w.Client.Close()
			}()
			_, _ = io.WriteString(w.client, test.say)
			read := make([]byte, len("hello\r\na\r\n"))
			if _, err := io.ReadFull(w.client, read); err != nil {
				t.Fatal(err)
			}
			if test.end != nil {
				test.end(w, stop)
			}
			rest, err := io.ReadAll(w.client)
			if got := string(read) + string(rest); got != test.reads || err != nil {
				t.Errorf("the client reads %q, %v, want %q", got, err, test.reads)
			}
			if got := <-status; got != test.status {
				t.Errorf("status %d, want %d", got, test.status)
			}
			w.wantLog(t, begins, test.last)
		})
	}
}
