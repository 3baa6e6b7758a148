package resident

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mailproxy/tests/harness"
)

// A mailhost with many sessions is restarted: all clients come back at once, first to nobody. Each gets in
// again, with no other refusal on the way than to come back later, and the mailhost is never asked for more
// logins at a time than PROXY_MAILHOST_LOGINS.
func TestVolumeReconnectStorm(t *testing.T) {
	mailhostAccounts(t)
	clients := int(harness.Volume(300, 2000))
	for name, withRelayd := range map[string]bool{"its own engine": false, "relayd": true} {
		t.Run(name, func(t *testing.T) {
			mode := harness.Resident()
			if withRelayd {
				mode.Relayd = harness.Relayd(t)
			}
			// The programs as they are shipped: there are many sessions.
			front := mode.Start(t, harness.ProxyOptions{
				Addr: mailhostsAddr, Protocols: []string{"IMAP"}, Shipped: true,
				Env: harness.Env{"PROXY_MAILHOST_RETRY": "1", "LOGIN_FAIL_DELAY": "1"},
			})
			storm(t, front, clients)
		})
	}
}

// defaultLogins is PROXY_MAILHOST_LOGINS where it is not set.
const defaultLogins = 100

func storm(t *testing.T, front *harness.Proxy, n int) {
	p := protocols[0]
	log := front.Log(p.Name)
	h := &busyServer{protocol: p}
	s := newServer(t, p.At(badHost), h.serve)
	all := make([]*client, n)
	each := func(what string, do func(i int) error) {
		t.Helper()
		var running sync.WaitGroup
		for i := range all {
			running.Go(func() {
				if err := do(i); err != nil {
					t.Errorf("client %d, %s: %v", i, what, err)
				}
			})
		}
		running.Wait()
	}
	connect := func(i int) (err error) {
		if all[i], err = p.dial(front.At(p.Name)); err != nil {
			return err
		}
		return all[i].logInAtLast("bad")
	}
	t.Cleanup(func() {
		for _, c := range all {
			if c != nil {
				c.Close()
			}
		}
	})
	each("at first", connect)
	if t.Failed() {
		return
	}

	s.stop()
	each("the mailhost's end", func(i int) error {
		if _, err := all[i].line(); err == nil {
			return errors.New("the session goes on")
		}
		return all[i].Close()
	})
	back := make(chan struct{})
	go func() {
		defer close(back)
		each("back again", connect)
	}()
	log.Wait(t, "^WARN: MAILHOST DOWN, ")
	newServer(t, p.At(badHost), h.serve)
	<-back
	if t.Failed() {
		return
	}
	each("all at once", func(i int) error { return all[i].echo(fmt.Sprint("client ", i)) })

	log.WaitN(t, 2*n, "LOGIN, user=bad,")
	log.WaitN(t, 1, "^WARN: MAILHOST DOWN, ")
	log.WaitN(t, 1, "^NOTICE: MAILHOST UP, .*, turned-away=[0-9]+$")
	log.WaitN(t, 0, "TIMEOUT|ERR:|CRIT:|timeout")
	if most := h.most.Load(); most > defaultLogins {
		t.Errorf("%d logins at a time at the mailhost", most)
	}
	for i := range all {
		all[i].Close()
	}
	front.Idle(t)
}

// logInAtLast logs in, again and again where it is told to come back later, as mail programs do.
func (c *client) logInAtLast(user string) error {
	for {
		err := c.logIn(user)
		if _, later := err.(comeBackLater); !later {
			return err
		}
	}
}

// busyServer is a mailhost that takes a little for each login, and counts how many wait for that at a time.
type busyServer struct {
	protocol
	underWay, most atomic.Int64
}

// loginTakes is what a mailhost does between a connection and its greeting; it gives logins the time to meet.
const loginTakes = 2 * time.Millisecond

func (h *busyServer) serve(conn net.Conn) {
	now := h.underWay.Add(1)
	for most := h.most.Load(); now > most && !h.most.CompareAndSwap(most, now); most = h.most.Load() {
	}
	wait := time.NewTimer(loginTakes)
	<-wait.C
	h.underWay.Add(-1) // before the proxy can know that it is over
	if h.logInServer(conn) == nil {
		_, _ = io.Copy(conn, conn)
	}
}
