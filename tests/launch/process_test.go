package launch

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"mailproxy/tests/harness"
)

// Standard input and output as two pipes, the way s6-tlsd and shell pipelines start programs; everything is
// pipelined.
func TestPipes(t *testing.T) {
	world(t)
	for _, s := range sides {
		for _, test := range []struct{ name, want string }{{"here", ""}, {"there", "INFO: LOGOUT, user=there, "}} {
			said := map[string]string{
				"IMAP": "a1 LOGIN NAME pw\r\na2 STATUS INBOX (MESSAGES)\r\na3 LOGOUT\r\n",
				"POP3": "USER NAME\r\nPASS pw\r\nSTAT\r\nQUIT\r\n",
			}[s.Name]
			arguments := s.arguments(t)
			command := exec.Command(arguments[0], arguments[1:]...)
			command.Env = []string{s.Name + "_PROXY=1", "TCPLOCALPORT=9", "TCPREMOTEIP=192.0.2.7",
				"GORACE=" + os.Getenv("GORACE")}
			command.Stdin = strings.NewReader(strings.ReplaceAll(said, "NAME", test.name))
			var log strings.Builder
			command.Stderr = &log
			out, err := command.Output()
			answer := map[string]string{"IMAP": "(MESSAGES 1)\r\n", "POP3": "\r\n+OK 1 "}[s.Name]
			if err != nil || !strings.Contains(string(out), answer) || !strings.Contains(log.String(), test.want) ||
				!strings.Contains(log.String(), "ip=[192.0.2.7]") {
				t.Errorf("%s %s: %v\n%s\n%s", s.Name, test.name, err, out, log.String())
			}
		}
	}
}

// SIGTERM and SIGHUP: the IMAP client reads why the session ends, the log holds one line, and the program is
// gone. So it is with the time limit.
func TestEnds(t *testing.T) {
	stopped := map[string]string{"IMAP": "S~ \\* BYE .*\nS-\n", "POP3": "S~ -ERR .*\nS-\n"}
	// When the time is over a POP3 server just closes (RFC 1939 section 3).
	farewell := map[string]string{"IMAP": "S~ \\* BYE .*\nS-\n", "POP3": "S-\n"}
	for _, s := range sides {
		p := harness.Tcpserver(t, harness.Listen{Addr: proxy, Port: s.Port, Env: s.env(), Program: s.arguments(t)})
		for i, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGHUP} {
			runner := harness.Dialogue(t, s.At(proxy), "S~ (\\* OK|\\+OK) .*\n")
			for _, process := range harness.Procs(t, s.Program) {
				if err := syscall.Kill(process.PID, signal); err != nil {
					t.Error(err)
				}
			}
			runner.MustPlay(t, stopped[s.Name])
			p.Log.WaitN(t, i+1,
				`^NOTICE: Disconnected during shutdown by signal, ip=\[127\.0\.0\.1\], port=\[[0-9]+\], time=\d+$`)
			harness.NoneLeft(t, s.Program)
		}
		p.Stop()

		p = harness.Tcpserver(t,
			harness.Listen{Addr: proxy, Port: s.Port, Env: s.env("LOGIN_TIMEOUT=2"), Program: s.arguments(t)})
		harness.Dialogue(t, s.At(proxy), "S~ (\\* OK|\\+OK) .*\n"+farewell[s.Name])
		p.Log.WaitN(t, 1, `^INFO: TIMEOUT, ip=\[127\.0\.0\.1\], port=\[[0-9]+\], time=[1-9]\d*$`)
		harness.NoneLeft(t, s.Program)
		p.Stop()
	}
}

// Nobody listens on authdaemond's socket: the authdaemond beside the program answers this one question.
func TestOneShot(t *testing.T) {
	harness.UserdbTextOnly(t,
		harness.Account{Name: "here", Password: "pw", Home: harness.NewHome(t, harness.Message("one"))})
	harness.Authdaemonrc(t, "authuserdb", nil)
	for _, s := range sides {
		p := harness.Tcpserver(
			t,
			harness.Listen{
				Addr: proxy, Port: s.Port, Env: s.env("AUTHDAEMON_SOCKET=/nonexistent/socket"),
				Program: s.arguments(t),
			},
		)
		harness.Dialogue(t, s.At(proxy), s.refusal()).Conn.Close()
		harness.Dialogue(t, s.At(proxy), s.Session("here", "pw")).Conn.Close()
		harness.NoneLeft(t, "authdaemond", s.Program)
		p.Stop()
	}
}
