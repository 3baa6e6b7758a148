package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"mailproxy/internal/maillog"
	"mailproxy/relay"
	"mailproxy/relay/handoff"
	"mailproxy/tests/relaytest"
)

// faultVariable makes this test binary a successor with a fault.
const faultVariable = "RELAYD_TEST_FAULT"

// faultySuccessor behaves like a relayd that takes over until it comes to its fault.
func faultySuccessor(fault string) {
	f := os.NewFile(3, "handoff")
	nc, err := net.FileConn(f)
	if err != nil {
		os.Exit(1)
	}
	c := nc.(*net.UnixConn)
	say := func(verb string) {
		_ = handoff.Send(c, &handoff.Message{Verb: verb, Fields: map[string]string{"VERSION": "2"}})
	}
	await := func(verb string) {
		for {
			m, _, err := handoff.Receive(c)
			if err != nil || m.Verb == verb {
				return
			}
		}
	}
	if fault == "exits" {
		return
	}
	if fault == "silent" {
		select {}
	}
	say("READY")
	switch fault {
	case "dies when ready":
	case "hangs when ready":
		select {}
	case "dies at the first session":
		await("MOVE")
	case "dies with all":
		await("END")
	case "says nonsense":
		await("END")
		say("OK")
	case "dies when it holds all":
		await("END")
		say("HELD")
	case "dies before it serves":
		await("END")
		say("HELD")
		await("GO")
	}
	if file, ok := strings.CutPrefix(fault, "serves until SIGHUP: "); ok {
		signals := make(chan os.Signal, 1)
		signal.Notify(signals, unix.SIGHUP)
		await("END")
		say("HELD")
		await("GO")
		say("SERVING")
		<-signals
		_ = os.WriteFile(file, nil, 0o644)
	}
}

// faultyProgram is a program that behaves so.
func faultyProgram(t *testing.T, fault string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "relayd")
	script := fmt.Sprintf("#!/bin/sh\n%s='%s' exec %s\n", faultVariable, fault, self)
	if err := os.WriteFile(path, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestReloadFaults: a successor that fails in any way leaves every session where it was, and new ones are
// taken.
func TestReloadFaults(t *testing.T) {
	s := startService(t)
	var far [][2]relaytest.Conn
	for i, k := range append(relaytest.TLSKinds()[:1], relaytest.Kinds()[0]) {
		nc, fc := k.Make(t)
		nm, fm := relaytest.TCP(t, 0)
		if err := handOver(s.socket, nc, nm, info(fmt.Sprint("user", i)), ""); err != nil {
			t.Fatal(err)
		}
		far = append(far, [2]relaytest.Conn{fc, fm})
	}
	for _, fault := range []string{"exits", "dies when ready", "dies at the first session", "dies with all",
		"says nonsense", "dies when it holds all", "dies before it serves"} {
		s.conf.program = faultyProgram(t, fault)
		if next, err := s.reload(t.Context()); err == nil {
			t.Errorf("%s: %d sessions are gone", fault, next.Sessions)
		}
		for _, p := range far {
			relaytest.Exchange(t, p[0], p[1])
			relaytest.Exchange(t, p[1], p[0])
		}
		nc, fc := relaytest.TCP(t, 0)
		nm, fm := relaytest.TCP(t, 0)
		s.join(t, nc, nm, time.Minute)
		relaytest.Exchange(t, fc, fm)
		fc.Close()
		fm.Close()
		waitFor(t, func() bool { return s.engine.Totals().Counted == len(far) })
		if out, _, err := ask(s.socket, "who"); err != nil || strings.Count(out, "\n") != len(far) {
			t.Errorf("%s: who: %q %v", fault, out, err)
		}
	}
}

// TestStopDuringReload: SIGTERM ends the service within 5 seconds while a successor says nothing, and while
// one that is ready hangs in the middle.
func TestStopDuringReload(t *testing.T) {
	for _, fault := range []string{"silent", "hangs when ready"} {
		t.Run(fault, func(t *testing.T) {
			socket := filepath.Join(t.TempDir(), "relayd")
			conf, err := parse([]string{"relayd", "-socket", socket, "-loops", "2"}, io.Discard)
			if err != nil {
				t.Fatal(err)
			}
			log := maillog.NewSilentLog()
			sockets := &sockets{}
			if err := sockets.listen(conf, log); err != nil {
				t.Fatal(err)
			}
			s, err := newService(conf, sockets, log)
			if err != nil {
				t.Fatal(err)
			}
			conf.program = faultyProgram(t, fault)
			signals := make(chan os.Signal, 2)
			done := make(chan error, 1)
			go func() { done <- s.serve(context.Background(), signals) }()
			nc, fc := relaytest.TCP(t, 0)
			nm, fm := relaytest.TCP(t, 0)
			if err := handOver(socket, nc, nm, info("ann"), ""); err != nil {
				t.Fatal(err)
			}
			relaytest.Exchange(t, fc, fm)
			signals <- unix.SIGHUP
			<-time.After(200 * time.Millisecond) // somewhere in the reload
			signals <- unix.SIGTERM
			select {
			case err := <-done:
				if err != nil {
					t.Error(err)
				}
			case <-time.After(30 * time.Second):
				t.Fatal("the service does not end")
			}
			if rest, err := io.ReadAll(fc); len(rest) > 0 || err != nil {
				t.Errorf("the client sees %q, %v", rest, err)
			}
		})
	}
}

// TestReloadDuringReload: a reload that is asked for during another one is the new process's.
func TestReloadDuringReload(t *testing.T) {
	told := filepath.Join(t.TempDir(), "told")
	conf, err := parse([]string{"relayd", "-socket", filepath.Join(t.TempDir(), "relayd")}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	log := maillog.NewSilentLog()
	sockets := &sockets{}
	if err := sockets.listen(conf, log); err != nil {
		t.Fatal(err)
	}
	s, err := newService(conf, sockets, log)
	if err != nil {
		t.Fatal(err)
	}
	conf.program = faultyProgram(t, "serves until SIGHUP: "+told)
	signals := make(chan os.Signal, 2)
	signals <- unix.SIGHUP
	signals <- unix.SIGHUP
	if err := s.serve(t.Context(), signals); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { _, err := os.Stat(told); return err == nil })
}

// traffic keeps sessions busy and counts what passes.
type traffic struct {
	stop     atomic.Bool
	running  sync.WaitGroup
	sessions int
}

func (x *traffic) start(t *testing.T, p *process, n int, busy bool) {
	kinds := append(relaytest.TLSKinds()[:1], relaytest.Kinds()[:2]...)
	for i := range n {
		nc, fc := kinds[i%len(kinds)].Make(t)
		nm, fm := relaytest.TCP(t, 0)
		if err := handOver(p.socket, nc, nm, info(fmt.Sprint("user", i)), ""); err != nil {
			t.Fatal(err)
		}
		x.sessions++
		x.running.Go(func() {
			defer fc.Close()
			defer fm.Close()
			out, in := make([]byte, 5000), make([]byte, 5000)
			for round := byte(0); ; round++ {
				last := x.stop.Load()
				if busy || last || round == 0 {
					for k := range out {
						out[k] = round + byte(k)
					}
					if _, err := fc.Write(out); err != nil {
						t.Errorf("session %d: %v", i, err)
						return
					}
					if _, err := io.ReadFull(fm, in); err != nil || string(in) != string(out) {
						t.Errorf("session %d, round %d: %v", i, round, err)
						return
					}
				} else {
					<-time.After(5 * time.Millisecond)
				}
				if last {
					return
				}
			}
		})
	}
}

// TestFiftyReloads: 50 reloads in a row of an idle and of a busy service, with all conversations taken, and
// with file descriptors used up. No session ends, no byte is lost, and limits and counters are right
// afterwards.
func TestFiftyReloads(t *testing.T) {
	for _, tc := range []struct {
		name    string
		busy    bool
		silent  int // callers who say nothing
		nofile  string
		reloads int
	}{
		{"idle", false, 0, "", 50}, {"busy", true, 0, "", 50},
		{"conversations taken", true, maxConversations, "", 5},
		{"descriptors used up", true, 100, noFile + "=80", 5},
	} {
		t.Run(tc.name, func(t *testing.T) {
			args := []string{"-maxperuser", "1"}
			if tc.nofile != "" {
				args = append([]string{tc.nofile}, args...)
			}
			p := startProcess(t, args...)
			var x traffic
			x.start(t, p, 9, tc.busy)
			for range tc.reloads {
				var callers []net.Conn
				for range tc.silent {
					c, err := net.DialTimeout("unixpacket", p.socket, 50*time.Millisecond)
					if err != nil { // the listen queue is full
						break
					}
					callers = append(callers, c)
				}
				p.reload()
				for _, c := range callers {
					c.Close()
				}
			}
			nc, _ := relaytest.TCP(t, 0)
			nm, _ := relaytest.TCP(t, 0)
			// The file descriptors of the silent callers are free a moment after these have gone.
			var err error
			p.until("descriptors are free again", func() bool {
				err = handOver(p.socket, nc, nm, info("user1"), "")
				return !errors.Is(err, relay.ErrUnavailable)
			})
			if !errors.Is(err, relay.ErrLimit) {
				t.Errorf("a second session of a user: %v", err)
			}
			out, _, _ := ask(p.socket, "who")
			if n := strings.Count(out, "\n"); n != x.sessions {
				t.Errorf("who: %d sessions of %d:\n%s", n, x.sessions, out)
			}
			stats, _, _ := ask(p.socket, "stats")
			for _, line := range []string{"mailproxy_relayd_sessions 9\n", "mailproxy_relayd_sessions_taken_total 9\n",
				"mailproxy_relayd_sessions_ended_total 0\n"} {
				if !strings.Contains(stats, line) {
					t.Errorf("no %q in\n%s", line, stats)
				}
			}
			x.stop.Store(true)
			x.running.Wait()
			p.until("all sessions have ended", func() bool {
				return strings.Count(p.log.String(), "INFO: LOGOUT") == x.sessions
			})
		})
	}
}
