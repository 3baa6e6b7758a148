package resident_test

import (
	"fmt"
	"io"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestStopTells: at SIGTERM those who have not logged in, and those whose login is under way, are told to
// come back, by the words of their protocol; sessions end without a word of ours.
func TestStopTells(t *testing.T) {
	for protocol, word := range map[string]string{"imap": "* BYE ", "pop3": "-ERR [SYS/TEMP] "} {
		for _, overTLS := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, tls %v", protocol, overTLS), func(t *testing.T) {
				w := newWorld(t)
				p := w.start(protocol)
				session := p.mustLogin("ann", overTLS)
				session.mustEcho()
				connect := func() *client {
					c, err := p.connect(overTLS)
					if err != nil {
						t.Fatal(err)
					}
					t.Cleanup(func() { c.Close() })
					return c
				}
				before, under := connect(), connect()
				t.Cleanup(w.hold("bob"))
				if err := under.say("bob"); err != nil {
					t.Fatal(err)
				}
				<-w.asked
				p.signal(unix.SIGTERM)
				told := func(when string, c *client) {
					all, err := io.ReadAll(c.r)
					text := string(all)
					if !strings.HasPrefix(text, word) || strings.Count(text, "\n") != 1 || err != nil {
						t.Errorf("%s the login: %q, %v", when, text, err)
					}
				}
				told("before", before)
				told("during", under)
				if text, err := io.ReadAll(session.r); len(text) > 0 || err != nil {
					t.Errorf("the session reads %q, %v", text, err)
				}
				<-p.exited
				if log := p.log.String(); strings.Contains(log, "context canceled") {
					t.Error("a server that was talked to at that moment is blamed")
				}
				if code := p.cmd.ProcessState.ExitCode(); code != 0 {
					t.Errorf("exit status %d", code)
				}
			})
		}
	}
}
