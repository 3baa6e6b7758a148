package resident_test

import (
	"bytes"
	"crypto/tls"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// cbc is a cipher suite whose sessions cannot change hands.
var cbc = &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12,
	CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA}}

// TestLinger: a session that cannot be passed on goes on in the old process, which ends with it; for the time
// of -linger, and until SIGTERM.
func TestLinger(t *testing.T) {
	for name, tc := range map[string]struct {
		args []string
		end  func(p *process, old int, c *client)
		line string // that the old process ends with
	}{
		"the client leaves": {nil, func(_ *process, _ int, c *client) { c.mustEcho(); c.Close() }, ""},
		"its time is over": {[]string{"-linger", "200ms"}, func(*process, int, *client) {},
			"INFO: -linger is over: ending with 1 sessions\n"},
		"SIGTERM": {nil, func(p *process, old int, _ *client) { _ = unix.Kill(old, unix.SIGTERM) },
			"INFO: SIGTERM: ending with 1 sessions\n"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newWorld(t).startWith(tc.args, "imap", "TLS_CIPHER_LIST=ECDHE-ECDSA-AES128-SHA")
			c, err := p.loginWith("ann", cbc)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			c.mustEcho()
			moved := p.mustLogin("bob", false)
			p.reload()
			old := p.cmd.Process.Pid
			if len(tc.args) == 0 {
				c.mustEcho()
				if !alive(old) {
					t.Fatal("the old process has ended")
				}
			}
			tc.end(p, old, c)
			<-p.exited
			if code := p.cmd.ProcessState.ExitCode(); code != 0 {
				t.Errorf("exit status %d", code)
			}
			if rest, _ := io.ReadAll(c.r); len(rest) > 0 {
				t.Errorf("the client reads %q", rest)
			}
			moved.mustEcho()
			if tc.line != "" {
				p.until("a line about the end", func() bool { return strings.Contains(p.log.String(), tc.line) })
			} else if strings.Contains(p.log.String(), "ending with") {
				t.Errorf("log: %s", p.log)
			}
		})
	}
}

// TestInheritNonsense: file descriptors that are none of a predecessor's stop the program, with a line.
func TestInheritNonsense(t *testing.T) {
	w := newWorld(t)
	p := w.start("imap")
	for _, value := range []string{"x", "handoff", "handoff,predecessor,socket", ",", "socket", "predecessor"} {
		var log bytes.Buffer
		cmd := exec.Command(p.path, "-listen", p.plain)
		cmd.Env = []string{"MAILPROXY_INHERIT=" + value, "GORACE=" + os.Getenv("GORACE")}
		cmd.Stderr = &log
		if err := cmd.Run(); err == nil || !strings.HasPrefix(log.String(), "CRIT: ") {
			t.Errorf("%q: %v, %s", value, err, &log)
		}
	}
	p.mustLogin("ann", false).mustEcho()
}
