package resident

import (
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"mailproxy/tests/harness"
)

// TestXinetdWait: xinetd hands over its listening socket and waits. The program serves all connections, ends
// when nobody is there, and is started again by the next connection. SIGHUP is refused.
func TestXinetdWait(t *testing.T) {
	harness.Site{Mailboxes: users}.Start(t)
	for _, s := range harness.Protocols {
		t.Run(s.Name, func(t *testing.T) {
			log := harness.Syslog(t)
			f := newFrontEnd(t, s, nil)
			args := f.arguments(t, "-idle", "500ms")
			dir := harness.Dir(t)
			harness.XinetdConf(t, filepath.Join(dir, "xinetd.conf"), fmt.Sprintf(`service test
{
	type = UNLISTED
	protocol = tcp
	socket_type = stream
	user = root
	wait = yes
	disable = no
	cps = 10000 1
	bind = %s
	port = %d
	server = %s
	server_args = %s
	env = %s
}
`, proxy, s.Port, args[0], strings.Join(args[1:], " "), strings.Join(f.env.List(), " ")), f.addr())
			for start := range 3 {
				first := harness.Dialogue(t, f.addr(), s.Login("carla", secret))
				second := harness.Dialogue(t, f.addr(), s.Login("dora", secret))
				running := harness.Procs(t, s.Program)
				if len(running) != 1 {
					t.Fatalf("%d processes", len(running))
				}
				if err := syscall.Kill(running[0].PID, syscall.SIGHUP); err != nil {
					t.Fatal(err)
				}
				log.WaitN(t, start+1, `SIGHUP has no effect under inetd's wait`)
				first.MustPlay(t, s.Work+s.Logout)
				second.MustPlay(t, s.Work+s.Logout)
				harness.NoneLeft(t, s.Program)
				log.WaitN(t, start+1, `no connection for 500ms`)
			}
		})
	}
}

// TestSystemdListen: systemd hands over its listening socket (Accept=no), and the program can be reloaded.
func TestSystemdListen(t *testing.T) {
	harness.Site{Mailboxes: users}.Start(t)
	for _, s := range harness.Protocols {
		t.Run(s.Name, func(t *testing.T) {
			f := newFrontEnd(t, s, nil)
			listen := harness.Listen{Addr: proxy, Port: s.Port, Env: f.env, Program: f.arguments(t)}
			f.Process = harness.SystemdListen(t, listen)
			r := harness.Dialogue(t, f.addr(), s.Login("carla", secret))
			for range 3 {
				f.Reload(t)
				r.MustPlay(t, s.Work)
				harness.Dialogue(t, f.addr(), f.Session("dora", secret))
			}
			r.MustPlay(t, s.Logout)
		})
	}
}
