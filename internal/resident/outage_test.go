package resident_test

import (
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestReloadInOutage: the process that takes over knows that a mailhost is down. It sends no logins there
// until it is time, says nothing new, and tells for how long it was down when it is back.
func TestReloadInOutage(t *testing.T) {
	w := newWorld(t)
	var dialed atomic.Int64
	var up atomic.Bool
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serveAll(t, l, func(c net.Conn) {
		if up.Load() {
			imapMailhost(c)
		} else { // nobody is there: no greeting
			dialed.Add(1)
		}
	})
	w.ports["imap"] = l.Addr().String()
	settings := []string{"LOGIN_FAIL_DELAY=0", "PROXY_MAILHOST_RETRY=3"}
	p := w.start("imap", settings...)
	refused := func(user string) {
		t.Helper()
		if _, err := p.login(user, false); err == nil || !strings.Contains(err.Error(), "UNAVAILABLE") {
			t.Errorf("%s: %v", user, err)
		}
	}
	for i := range 3 {
		refused(fmt.Sprint("before", i))
	}
	down := time.Now()
	p.until("it is down", func() bool { return strings.Contains(p.log.String(), "MAILHOST DOWN") })
	for range 3 {
		p.reload()
		for i := range 10 {
			refused(fmt.Sprint("after", i))
		}
	}
	if n := dialed.Load(); n != 3 && time.Since(down) < 3*time.Second {
		t.Errorf("%d logins have tried the mailhost, want 3", n)
	}
	up.Store(true)
	var c *client
	p.until("a login", func() bool {
		var err error
		c, err = p.login("ann", false)
		return err == nil
	})
	defer c.Close()
	c.mustEcho()
	p.until("a line MAILHOST UP", func() bool { return strings.Contains(p.log.String(), "MAILHOST UP") })
	log := p.log.String()
	if n := strings.Count(log, "MAILHOST DOWN"); n != 1 {
		t.Errorf("%d lines MAILHOST DOWN", n)
	}
	if strings.Contains(log, "down=0,") || strings.Contains(log, "turned-away=0") {
		t.Errorf("no line that says for how long it was down, and for how many:\n%s", log)
	}
}
