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
	for _, s := range sides {
		t.Run(s.name, func(t *testing.T) {
			socket := filepath.Join(harness.Dir(t), "relayd")
			relayd := harness.RelaydAt(t, socket)
			f := newFrontEnd(t, s, relayd)
			f.listen(t)
			there := harness.Dialogue(t, f.addr(), as(f.login, "carla"))
			there.MustPlay(t, f.work)
			if n := relayd.Metric(t, "relayd_sessions"); n != 1 {
				t.Errorf("relayd has %d sessions, want 1", n)
			}
			relayd.Stop() // its sessions end with it
			own := harness.Dialogue(t, f.addr(), as(f.login, "dora"))
			own.MustPlay(t, f.work)
			relayd = harness.RelaydAt(t, socket)
			back := harness.Dialogue(t, f.addr(), as(f.login, "carla"))
			back.MustPlay(t, f.work)
			if n := relayd.Metric(t, "relayd_sessions"); n != 1 {
				t.Errorf("relayd has %d sessions after it is back, want 1", n)
			}
			own.MustPlay(t, f.work+f.bye)
			back.MustPlay(t, f.work+f.bye)
		})
	}
}

// TestStopped: SIGTERM ends the sessions that the front end carries itself, without a word of ours; those
// that relayd carries go on, also with the next front end.
func TestStopped(t *testing.T) {
	harness.Site{Mailboxes: users}.Start(t)
	for _, s := range sides {
		t.Run(s.name, func(t *testing.T) {
			socket := filepath.Join(harness.Dir(t), "relayd")
			f := newFrontEnd(t, s, harness.RelaydAt(t, socket))
			f.listen(t)
			there := harness.Dialogue(t, f.addr(), as(f.login, "carla"))
			before := harness.Dialogue(t, f.addr(), "S* .*\n")
			stop := func() {
				t.Helper()
				pid, _ := f.pid()
				if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
					t.Fatal(err)
				}
				if code := f.Wait(t); code != 0 {
					t.Errorf("exit status %d", code)
				}
			}
			stop()
			before.MustPlay(t, map[string]string{"IMAP": "S~ \\* BYE .*\nS-",
				"POP3": "S~ -ERR \\[SYS/TEMP\\] .*\nS-"}[s.name])
			there.MustPlay(t, f.work)
			f.env = append(f.env, "RELAY_SOCKET=")
			f.listen(t)
			own := harness.Dialogue(t, f.addr(), as(f.login, "dora"))
			own.MustPlay(t, f.work)
			stop()
			own.MustPlay(t, "S-")
			there.MustPlay(t, f.work+f.bye)
		})
	}
}

// TestAuthDaemonGoneAndBack: while nobody can tell whose password it is, that is a temporary failure, which
// ends as soon as the daemon is back, on connections that were kept to it as well.
func TestAuthDaemonGoneAndBack(t *testing.T) {
	harness.Site{Mailboxes: users}.Start(t)
	for _, s := range sides {
		t.Run(s.name, func(t *testing.T) {
			daemon := harness.Authdaemond(t, "authuserdb", nil)
			f := newFrontEnd(t, s, nil)
			f.env = append(f.env, "AUTHDAEMON_SOCKET="+daemon.Socket, "AUTHDAEMON_PROGRAM=/nonexistent",
				"LOGIN_FAIL_DELAY=0")
			f.listen(t)
			for range 3 {
				harness.Dialogue(t, f.addr(), as(f.login+f.bye, "carla")).Conn.Close()
			}
			if err := daemon.Cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			daemon.Wait(t)
			refused := map[string]string{
				"IMAP": "S* \\* OK .*\nC: a LOGIN carla secret\nS~ a NO \\[UNAVAILABLE\\] .*\n",
				"POP3": "S~ \\+OK .*\nC: USER carla\nS~ \\+OK .*\nC: PASS secret\nS~ -ERR \\[SYS/TEMP\\] .*\n",
			}[f.name]
			for range 3 {
				harness.Dialogue(t, f.addr(), refused).Conn.Close()
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
				harness.Dialogue(t, f.addr(), as(f.login+f.bye, "carla")).Conn.Close()
			}
		})
	}
}

// TestKilled: a front end that was killed leaves nothing that keeps the next one from starting.
func TestKilled(t *testing.T) {
	harness.Site{Mailboxes: users}.Start(t)
	for _, s := range sides {
		t.Run(s.name, func(t *testing.T) {
			f := newFrontEnd(t, s, nil)
			dir := filepath.Join(harness.Dir(t), "sockets")
			harness.Run(t, "", "install", "-d", "-o", "courier", dir)
			f.env = append(f.env, "THROTTLE_FILE="+filepath.Join(dir, "throttle"))
			f.listen(t)
			session := harness.Dialogue(t, f.addr(), as(f.login, "carla"))
			pid, _ := f.pid()
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			f.Wait(t)
			session.Conn.Close()
			f.listen(t)
			harness.Dialogue(t, f.addr(), as(f.login+f.work+f.bye, "dora")).Conn.Close()
		})
	}
}
