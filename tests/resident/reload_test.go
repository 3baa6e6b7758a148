package resident

import (
	"fmt"
	"sync"
	"syscall"
	"testing"

	"mailproxy/tests/harness"
	"mailproxy/tests/transcript"
)

// TestReload: sessions at real mailhosts, logins that are half said, and logins all the time, through reloads
// with new settings. With relayd the sessions are there; the logins go the same ways.
func TestReload(t *testing.T) {
	harness.Site{Mailboxes: users, Dovecot: harness.DovecotOptions{
		Extra: "mail_max_userip_connections = 1000",
	}}.Start(t)
	for _, withRelayd := range []bool{false, true} {
		for _, s := range harness.Protocols {
			t.Run(fmt.Sprintf("%s, relayd %v", s.Name, withRelayd), func(t *testing.T) {
				var relayd *harness.Service
				if withRelayd {
					relayd = harness.Relayd(t)
				}
				f := newFrontEnd(t, s, relayd)
				f.listen(t)
				reloads(t, f)
			})
		}
	}
}

func reloads(t *testing.T, f *frontEnd) {
	var sessions, halves []*transcript.Runner
	for _, user := range []string{"carla", "dora"} {
		r := harness.Dialogue(t, f.addr(), f.Login(user, secret))
		r.MustPlay(t, f.Work)
		sessions = append(sessions, r)
	}
	half := map[string][2]string{
		"IMAP": {"S* \\* OK .*\nC: b NOOP\nS* b OK .*\n", "C: c LOGIN dora secret\nS* c OK .*\n"},
		"POP3": {"S~ \\+OK .*\nC: USER dora\nS~ \\+OK .*\n", "C: PASS secret\nS~ \\+OK .*\n"},
	}[f.Name]
	for i := range 5 {
		halves = append(halves, harness.Dialogue(t, f.addr(), half[0]))
		f.configure(t, fmt.Sprintf("%s_CAPABILITY=\"IMAP4rev1 IDLE X-%d\"\n", f.Name, i))
		done, stop := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(done)
			for {
				harness.Dialogue(t, f.addr(), f.Login("dora", secret)+f.Logout).Conn.Close()
				select {
				case <-stop:
					return
				default:
				}
			}
		}()
		f.Reload(t)
		close(stop)
		<-done
		for _, r := range sessions {
			r.MustPlay(t, f.Work)
		}
		if f.Name == "IMAP" {
			harness.Dialogue(t, f.addr(), fmt.Sprintf("S* \\* OK .*X-%d.*\n", i)).Conn.Close()
		}
	}
	var all sync.WaitGroup
	for _, r := range halves { // each in a process of its own
		all.Go(func() { r.MustPlay(t, half[1]+f.Work+f.Logout) })
	}
	all.Wait()
	for _, r := range sessions {
		r.MustPlay(t, f.Work+f.Logout)
	}
	// Only the newest process is left, and ends at once when it is told to.
	if !harness.Eventually(func() bool { return len(harness.Procs(t, f.Program)) == 1 }) {
		t.Errorf("processes: %v", harness.Procs(t, f.Program))
	}
	f.Signal(t, syscall.SIGTERM)
	harness.NoneLeft(t, f.Program)
}
