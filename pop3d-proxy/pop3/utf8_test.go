package pop3

import (
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"mailproxy/tests/fronttest"
	"mailproxy/tests/transcript"
)

// A mailhost that hangs up on UTF8, as some do on every command that they do not know, is logged in to
// without it.
func TestHangsUpOnUTF8(t *testing.T) {
	var visits atomic.Int32
	first := fronttest.Mailhost(t, "S: +OK\nC: UTF8\nS-")
	second := fronttest.Mailhost(t,
		"S: +OK\nC: USER bob\nS: +OK\nC: PASS geheim\nS: +OK in\nC: STAT\nS: +OK 0 0\nC-\nS-")
	s := front().Begin(t, fronttest.Options{Settings: map[string]string{"POP3_UTF8": "YES"},
		Mailhost: func(conn *net.UnixConn) {
			if visits.Add(1) == 1 {
				first(conn)
				return
			}
			second(conn)
		}})
	transcript.Play(t, s.Conn,
		"S* .*\nC: UTF8\nS* .*\nC: USER bob\nC: PASS geheim\nS* .*\nS: +OK Connected to proxy server.\nC: STAT\n"+
			"S: +OK 0 0\nC-\nS-")
	if status := s.Wait(t); status != 0 || visits.Load() != 2 {
		t.Errorf("status %d, %d visits\n%s", status, visits.Load(), s.Log)
	}
	const want = "WARN: 192.0.2.99 hung up on UTF8"
	if log := s.Log.String(); strings.Count(log, "WARN: ") != 1 || !strings.Contains(log, want) {
		t.Errorf("log\n%swant one warning, %q", log, want)
	}
}
