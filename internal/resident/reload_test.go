package resident_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestReload: a process takes the place of another one; the session is not interrupted, and the old process
// ends.
func TestReload(t *testing.T) {
	for _, protocol := range []string{"imap", "pop3"} {
		t.Run(protocol, func(t *testing.T) {
			p := newWorld(t).start(protocol)
			plain, over := p.mustLogin("ann", false), p.mustLogin("bob", true)
			p.reload()
			for _, c := range []*client{plain, over, p.mustLogin("eve", false), p.mustLogin("dan", true)} {
				c.mustEcho()
			}
			select {
			case <-p.exited:
			case <-time.After(30 * time.Second):
				t.Error("the old process does not end")
			}
			if code := p.cmd.ProcessState.ExitCode(); code != 0 {
				t.Errorf("exit status %d", code)
			}
		})
	}
}

// TestLoginAcrossReloads: a login that is under way during two reloads is answered, and its session is in the
// newest process; the older ones end.
func TestLoginAcrossReloads(t *testing.T) {
	for _, tc := range []struct {
		protocol string
		tls      bool
	}{{"imap", false}, {"imap", true}, {"pop3", false}, {"pop3", true}} {
		t.Run(fmt.Sprintf("%s, tls %v", tc.protocol, tc.tls), func(t *testing.T) {
			w := newWorld(t)
			p := w.start(tc.protocol)
			var clients []*client
			var letGo []func()
			begin := func(user string) {
				letGo = append(letGo, w.hold(user))
				c, err := p.connect(tc.tls)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { c.Close() })
				if err := c.say(user); err != nil {
					t.Fatal(err)
				}
				if asked := <-w.asked; asked != user {
					t.Fatalf("%s asks for %s", user, asked)
				}
				clients = append(clients, c)
			}
			begin("ann")
			p.reload()
			begin("bob")
			p.reload()
			pids := p.pids()
			if !alive(pids[0]) || !alive(pids[1]) {
				t.Fatal("a process with a login has ended")
			}
			for i, c := range clients {
				letGo[i]()
				if err := c.answered(); err != nil {
					t.Fatal(err)
				}
				c.mustEcho()
				p.until("the process of the login ends", func() bool { return !alive(pids[i]) })
				c.mustEcho()
			}
			p.reload()
			for _, c := range clients {
				c.mustEcho()
			}
			if n := strings.Count(p.log.String(), "INFO: LOGIN, "); n != 2 {
				t.Errorf("%d LOGIN lines", n)
			}
		})
	}
}

// TestLoginWithoutSuccessor: the process that has taken over is gone when a login ends. The session stays
// where the login was.
func TestLoginWithoutSuccessor(t *testing.T) {
	w := newWorld(t)
	p := w.start("imap")
	letGo := w.hold("ann")
	c, err := p.connect(false)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.say("ann"); err != nil {
		t.Fatal(err)
	}
	<-w.asked
	p.reload()
	pids := p.pids()
	p.signal(unix.SIGKILL)
	p.until("it is dead", func() bool { return !alive(pids[1]) })
	letGo()
	if err := c.answered(); err != nil {
		t.Fatal(err)
	}
	c.mustEcho()
	c.Close()
	<-p.exited
}

// TestReloadFaults: a successor that fails in any way leaves every session where it was, and new ones are
// taken; the line says why. Then one that works is installed.
func TestReloadFaults(t *testing.T) {
	w := newWorld(t)
	p := w.start("imap")
	clients := []*client{p.mustLogin("ann", false), p.mustLogin("bob", true)}
	faults := []string{"exits", "says nonsense at once", "dies when ready", "dies at the first session",
		"dies with all", "says nonsense", "dies when it holds all", "dies before it serves"}
	for i, fault := range faults {
		p.replace(fmt.Appendf(nil, "#!/bin/sh\n%s='%s' exec %s\n", faultVariable, fault, w.testBinary()))
		p.signal(unix.SIGHUP)
		p.until(fault+": a line", func() bool {
			return strings.Count(p.log.String(), "ERR: reload failed, this process goes on") == i+1
		})
		for _, c := range append(clients, p.mustLogin("new", false), p.mustLogin("newer", true)) {
			c.mustEcho()
		}
	}
	p.replace([]byte("not a program"))
	p.signal(unix.SIGHUP)
	p.until("a line", func() bool {
		return strings.Count(p.log.String(), "ERR: reload failed") == len(faults)+1
	})
	p.install()
	p.reload()
	for _, c := range clients {
		c.mustEcho()
	}
}

// TestReloadWithWrongSettings: settings that are wrong do not end a service. The lines name the setting.
func TestReloadWithWrongSettings(t *testing.T) {
	w := newWorld(t)
	settings := w.dir + "/settings"
	write := func(text string) {
		if err := os.WriteFile(settings, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("LOGIN_TIMEOUT=60\n")
	p := w.startWith([]string{"-config", settings}, "imap")
	c := p.mustLogin("ann", false)
	write("LOGIN_TIMEOUT=many\n")
	p.signal(unix.SIGHUP)
	p.until("a line", func() bool { return strings.Contains(p.log.String(), "ERR: reload failed") })
	if log := p.log.String(); !strings.Contains(log, "CRIT: ") || !strings.Contains(log, settings) {
		t.Errorf("log:\n%s", log)
	}
	c.mustEcho()
	p.mustLogin("bob", true).mustEcho()
	write("LOGIN_TIMEOUT=120\n")
	p.reload()
	c.mustEcho()
}

// reloads are made while there are logins and sessions.
const reloads = 15

// trafficPause leaves the processors to the programs under test.
const trafficPause = 10 * time.Millisecond

// TestManyReloads: logins that never stop, idle and busy sessions, through many reloads: no login is refused,
// no session and no byte is lost.
func TestManyReloads(t *testing.T) {
	for _, protocol := range []string{"imap", "pop3"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			p := newWorld(t).start(protocol)
			var idle []*client
			for i := range 6 {
				idle = append(idle, p.mustLogin(fmt.Sprint("idle", i), i%2 == 0))
			}
			var stop atomic.Bool
			var running sync.WaitGroup
			var logins, rounds atomic.Int64
			for i := range 3 {
				c := p.mustLogin(fmt.Sprint("busy", i), i%2 == 0)
				running.Go(func() {
					out := make([]byte, 5000)
					for round := byte(0); !stop.Load(); round++ {
						for k := range out {
							out[k] = round + byte(k)
						}
						_ = c.SetDeadline(time.Now().Add(time.Minute))
						if err := c.echo(out); err != nil {
							t.Errorf("busy session: %v", err)
							return
						}
						rounds.Add(1)
						<-time.After(trafficPause)
					}
				})
				running.Go(func() {
					for n := 0; !stop.Load(); n++ {
						c, err := p.login(fmt.Sprintf("new%d", i), n%2 == 0)
						if err == nil {
							err = c.echo([]byte("x NOOP\r\n"))
							c.Close()
						}
						if err != nil {
							t.Error(err)
							return
						}
						logins.Add(1)
						<-time.After(trafficPause)
					}
				})
			}
			for range reloads {
				p.reload()
			}
			p.until("enough logins and rounds", func() bool {
				return t.Failed() || logins.Load() >= reloads && rounds.Load() >= reloads
			})
			stop.Store(true)
			running.Wait()
			for _, c := range idle {
				_ = c.SetDeadline(time.Now().Add(time.Minute))
				c.mustEcho()
			}
			t.Logf("%d logins, %d rounds", logins.Load(), rounds.Load())
			pids := p.pids()
			for _, pid := range pids[:len(pids)-1] {
				p.until("the old processes end", func() bool { return !alive(pid) })
			}
		})
	}
}

// TestReloadDuringReload: what is asked for during a reload is done afterwards.
func TestReloadDuringReload(t *testing.T) {
	w := newWorld(t)
	p := w.start("imap")
	c := p.mustLogin("ann", false)
	// The successor begins when the second signal has been sent.
	program, begin := filepath.Join(w.dir, "program", "imapd-proxy"), filepath.Join(w.dir, "begin")
	if err := errors.Join(os.Mkdir(filepath.Dir(program), 0o755), os.Link(p.path, program)); err != nil {
		t.Fatal(err)
	}
	p.replace(fmt.Appendf(nil, "#!/bin/sh\nuntil test -e %s; do sleep 0.01; done\nexec %s \"$@\"\n", begin,
		program))
	p.signal(unix.SIGHUP)
	p.until("a successor", func() bool { return p.children() > 0 })
	p.signal(unix.SIGHUP)
	if err := os.WriteFile(begin, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	p.until("two new processes", func() bool { return len(p.pids()) >= 3 })
	c.mustEcho()
}

// TestStop: SIGTERM tells clients that have not logged in, delivers what sessions hold, and ends the process
// within five seconds with status 0; so it does in the middle of a reload.
func TestStop(t *testing.T) {
	for _, fault := range []string{"", "silent", "hangs when ready"} {
		t.Run("successor: "+fault, func(t *testing.T) {
			w := newWorld(t)
			p := w.start("imap")
			session := p.mustLogin("ann", false)
			before, err := p.connect(false)
			if err != nil {
				t.Fatal(err)
			}
			defer before.Close()
			if fault != "" {
				p.replace(fmt.Appendf(nil, "#!/bin/sh\n%s='%s' exec %s\n", faultVariable, fault, w.testBinary()))
				p.signal(unix.SIGHUP)
				p.until("a successor", func() bool { return p.children() > 0 })
			}
			p.signal(unix.SIGTERM)
			if line, err := before.r.ReadString('\n'); err != nil || !strings.HasPrefix(line, "* BYE") {
				t.Errorf("the client reads %q, %v", line, err)
			}
			<-p.exited
			// A successor that is waited for until it is given up would be one that has failed.
			if strings.Contains(p.log.String(), "reload failed") {
				t.Error("it has waited for the successor")
			}
			if code := p.cmd.ProcessState.ExitCode(); code != 0 {
				t.Errorf("exit status %d", code)
			}
			if line, err := session.r.ReadString('\n'); line != "" || err == nil {
				t.Errorf("the session reads %q, %v", line, err)
			}
			p.until("a line at the start and one at the end", func() bool {
				return regexp.MustCompile(`(?s)\bINFO: version \S+ listens at ` + p.plain + `, tls:\S+\n(.*\n)?` +
					`INFO: SIGTERM: ending with 1 sessions\n`).MatchString(p.log.String())
			})
		})
	}
}
