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
	for _, s := range sides {
		t.Run(s.name, func(t *testing.T) {
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
`, proxy, s.port, args[0], strings.Join(args[1:], " "), strings.Join(f.env, " ")), f.addr())
			for start := range 3 {
				first := harness.Dialogue(t, f.addr(), as(s.login, "carla"))
				second := harness.Dialogue(t, f.addr(), as(s.login, "dora"))
				if n := running(t, s.program); n != 1 {
					t.Fatalf("%d processes", n)
				}
				for _, p := range harness.Procs(t) {
					if p.Comm == s.program {
						if err := syscall.Kill(p.PID, syscall.SIGHUP); err != nil {
							t.Fatal(err)
						}
					}
				}
				log.WaitN(t, start+1, `SIGHUP has no effect under inetd's wait`)
				first.MustPlay(t, s.work+s.bye)
				second.MustPlay(t, s.work+s.bye)
				harness.NoneLeft(t, s.program)
				log.WaitN(t, start+1, `no connection for 500ms`)
			}
		})
	}
}

// TestSystemdListen: systemd hands over its listening socket (Accept=no), and the program can be reloaded.
func TestSystemdListen(t *testing.T) {
	harness.Site{Mailboxes: users}.Start(t)
	for _, s := range sides {
		t.Run(s.name, func(t *testing.T) {
			f := newFrontEnd(t, s, nil)
			env := harness.Env{}
			for _, v := range f.env {
				name, value, _ := strings.Cut(v, "=")
				env[name] = value
			}
			listen := harness.Listen{Addr: proxy, Port: s.port, Env: env, Program: f.arguments(t)}
			f.Process = harness.SystemdListen(t, listen)
			r := harness.Dialogue(t, f.addr(), as(s.login, "carla"))
			for range 3 {
				f.reload(t)
				r.MustPlay(t, s.work)
				harness.Dialogue(t, f.addr(), as(s.login+s.work+s.bye, "dora"))
			}
			r.MustPlay(t, s.bye)
		})
	}
}
