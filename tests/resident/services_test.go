package resident

import (
	"net"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"mailproxy/tests/harness"
)

// TestRelaydGoneAndBack: without relayd the sessions are the front end's own, and relayd's again as soon as
// it is back. What the front end has carried meanwhile goes on.
func TestRelaydGoneAndBack(t *testing.T) {
	harness.Site{Mailboxes: users}.Start(t)
	for _, s := range harness.Protocols {
		t.Run(s.Name, func(t *testing.T) {
			socket := filepath.Join(harness.Dir(t), "relayd")
			relayd := harness.RelaydAt(t, socket)
			f := newFrontEnd(t, s, relayd)
			f.listen(t)
			there := harness.Dialogue(t, f.addr(), f.Login("carla", secret))
			there.MustPlay(t, f.Work)
			if n := relayd.Metric(t, "relayd_sessions"); n != 1 {
				t.Errorf("relayd has %d sessions, want 1", n)
			}
			relayd.Stop() // its sessions end with it
			own := harness.Dialogue(t, f.addr(), f.Login("dora", secret))
			own.MustPlay(t, f.Work)
			relayd = harness.RelaydAt(t, socket)
			back := harness.Dialogue(t, f.addr(), f.Login("carla", secret))
			back.MustPlay(t, f.Work)
			if n := relayd.Metric(t, "relayd_sessions"); n != 1 {
				t.Errorf("relayd has %d sessions after it is back, want 1", n)
			}
			own.MustPlay(t, f.Work+f.Logout)
			back.MustPlay(t, f.Work+f.Logout)
		})
	}
}

// TestStopped: SIGTERM ends the sessions that the front end carries itself, without a word of ours; those
// that relayd carries go on, also with the next front end.
func TestStopped(t *testing.T) {
	harness.Site{Mailboxes: users}.Start(t)
	for _, s := range harness.Protocols {
		t.Run(s.Name, func(t *testing.T) {
			socket := filepath.Join(harness.Dir(t), "relayd")
			f := newFrontEnd(t, s, harness.RelaydAt(t, socket))
			f.listen(t)
			there := harness.Dialogue(t, f.addr(), f.Login("carla", secret))
			before := harness.Dialogue(t, f.addr(), "S* .*\n")
			stop := func() {
				t.Helper()
				f.Signal(t, syscall.SIGTERM)
				if code := f.Wait(t); code != 0 {
					t.Errorf("exit status %d", code)
				}
			}
			stop()
			before.MustPlay(t, map[string]string{"IMAP": "S~ \\* BYE .*\nS-",
				"POP3": "S~ -ERR \\[SYS/TEMP\\] .*\nS-"}[s.Name])
			there.MustPlay(t, f.Work)
			f.env["RELAY_SOCKET"] = ""
			f.listen(t)
			own := harness.Dialogue(t, f.addr(), f.Login("dora", secret))
			own.MustPlay(t, f.Work)
			stop()
			own.MustPlay(t, "S-")
			there.MustPlay(t, f.Work+f.Logout)
		})
	}
}

// TestAuthDaemonGoneAndBack: while nobody can tell whose password it is, that is a temporary failure, which
// ends as soon as the daemon is back, on connections that were kept to it as well.
func TestAuthDaemonGoneAndBack(t *testing.T) {
	harness.Site{Mailboxes: users}.Start(t)
	for _, s := range harness.Protocols {
		t.Run(s.Name, func(t *testing.T) {
			daemon := harness.Authdaemond(t, "authuserdb", nil)
			f := newFrontEnd(t, s, nil)
			f.env = f.env.With(harness.Env{"AUTHDAEMON_SOCKET": daemon.Socket, "AUTHDAEMON_PROGRAM": "/nonexistent",
				"LOGIN_FAIL_DELAY": "0"})
			f.listen(t)
			for range 3 {
				harness.Dialogue(t, f.addr(), f.Login("carla", secret)+f.Logout).Conn.Close()
			}
			daemon.Signal(t, syscall.SIGTERM)
			daemon.Wait(t)
			for range 3 {
				harness.Dialogue(t, f.addr(), f.Greeting+f.Credentials("carla", secret)+f.Unavailable).Conn.Close()
			}
			again := exec.Command(daemon.Cmd.Path, daemon.Cmd.Args[1:]...)
			again.Env = daemon.Cmd.Env
			harness.Start(t, again)
			if !harness.Eventually(func() bool {
				conn, err := net.Dial("unix", daemon.Socket)
				if err == nil {
					conn.Close()
				}
				return err == nil
			}) {
				t.Fatal("the daemon is not back")
			}
			for range 3 {
				harness.Dialogue(t, f.addr(), f.Login("carla", secret)+f.Logout).Conn.Close()
			}
		})
	}
}

// TestKilled: a front end that was killed leaves nothing that keeps the next one from starting.
func TestKilled(t *testing.T) {
	harness.Site{Mailboxes: users}.Start(t)
	for _, s := range harness.Protocols {
		t.Run(s.Name, func(t *testing.T) {
			f := newFrontEnd(t, s, nil)
			dir := filepath.Join(harness.Dir(t), "sockets")
			harness.Run(t, "", "install", "-d", "-o", "courier", dir)
			f.env["THROTTLE_FILE"] = filepath.Join(dir, "throttle")
			f.listen(t)
			session := harness.Dialogue(t, f.addr(), f.Login("carla", secret))
			f.Signal(t, syscall.SIGKILL)
			f.Wait(t)
			session.Conn.Close()
			f.listen(t)
			harness.Dialogue(t, f.addr(), f.Session("dora", secret)).Conn.Close()
		})
	}
}
