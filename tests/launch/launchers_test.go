package launch

import (
	"path/filepath"
	"strings"
	"testing"

	"mailproxy/tests/harness"
)

// The launchers that give a program a log of its own, as each of them names the client.
func TestLaunchers(t *testing.T) {
	world(t)
	for _, s := range sides {
		listen := func(more ...string) harness.Listen {
			return harness.Listen{Addr: proxy, Port: s.Port, Env: s.env(more...), Program: s.arguments(t)}
		}
		for _, test := range []struct {
			name, ip string
			start    func(t *testing.T) *harness.Process
		}{
			{"couriertcpd", "::ffff:127.0.0.1", func(t *testing.T) *harness.Process {
				return harness.Couriertcpd(t, harness.TCPD{Addr: proxy, Port: s.Port, Config: s.Config, Env: s.env(),
					Program: s.arguments(t)})
			}},
			{"tcpserver", "127.0.0.1", func(t *testing.T) *harness.Process { return harness.Tcpserver(t, listen()) }},
			{"tcpsvd", "127.0.0.1", func(t *testing.T) *harness.Process { return harness.Tcpsvd(t, listen()) }},
			{"systemd stdin", "::ffff:127.0.0.1",
				func(t *testing.T) *harness.Process { return harness.SystemdAccept(t, listen(), true) }},
			{"systemd LISTEN_FDS", "::ffff:127.0.0.1",
				func(t *testing.T) *harness.Process { return harness.SystemdAccept(t, listen(), false) }},
		} {
			t.Run(s.Name+" "+test.name, func(t *testing.T) {
				p := test.start(t)
				s.sessions(t, s.At(proxy))
				s.wantLog(t, p.Log, test.ip)
				harness.NoneLeft(t, s.Program, filepath.Base(s.LocalServer))
			})
		}
	}
}

// Under xinetd the client must never see a log line. With a syslog service they go there, in its form and
// without Courier's prefixes.
func TestXinetdSyslog(t *testing.T) {
	world(t)
	for _, s := range sides {
		t.Run(s.Name, func(t *testing.T) {
			log := harness.Syslog(t)
			harness.Xinetd(t, harness.Listen{Addr: proxy, Port: s.Port, Env: s.env(), Program: s.arguments(t)})
			s.sessions(t, s.At(proxy))
			s.wantLog(t, log, "::ffff:127.0.0.1")
			// Facility mail is 2, severity info 6: 2*8+6.
			log.Wait(t, `^<22>.*`+strings.TrimSuffix(s.Program, "-proxy")+`\[[0-9]+\]: LOGIN FAILED, user=here, `)
			// The local server writes to standard error.
			log.WaitN(t, 1, `^INFO: LOGIN, user=here, ip=`)
		})
	}
}

// An authdaemond that a front end starts for one request has no other place for its words either.
func TestXinetdAuthdaemond(t *testing.T) {
	directory := harness.Dir(t)
	harness.WriteFile(t, filepath.Join(directory, "authdaemonrc"), "authmodulelist=\"authpgsql\"\n", 0o644)
	for _, s := range sides {
		t.Run(s.Name, func(t *testing.T) {
			log := harness.Syslog(t)
			env := s.env("AUTHDAEMON_SOCKET=/nonexistent", "AUTHDAEMON_PROGRAM="+harness.Bin(t, "authdaemond"),
				"AUTHDAEMON_CONFIG="+directory)
			harness.Xinetd(t, harness.Listen{Addr: proxy, Port: s.Port, Env: env, Program: s.arguments(t)})
			refused := s.Greeting + s.Credentials("here", "wrong") + s.Unavailable + s.Logout
			harness.Dialogue(t, s.At(proxy), refused)
			log.WaitN(t, 1, `^<20>.* authdaemond\[[0-9]+\]: authpgsql: .*authpgsqlrc`)
		})
	}
}

func TestXinetdSilent(t *testing.T) {
	world(t)
	for _, s := range sides {
		t.Run(s.Name, func(t *testing.T) {
			harness.Xinetd(t, harness.Listen{Addr: proxy, Port: s.Port, Env: s.env(), Program: s.arguments(t)})
			s.sessions(t, s.At(proxy))
		})
	}
}

// A program that is handed a listening socket serves all its connections.
func TestListeningSocket(t *testing.T) {
	s := imap
	p := harness.SystemdListen(t, harness.Listen{Addr: proxy, Port: s.Port, Program: s.arguments(t)})
	for range 2 {
		harness.Dialogue(t, s.At(proxy), `S~ \* OK .*`).Conn.Close()
	}
	p.Log.WaitN(t, 2, `^DEBUG: Disconnected, `)
}

// Wrong arguments are answered in the protocol's words.
func TestArguments(t *testing.T) {
	for _, test := range []struct {
		s    side
		args []string
		want string
		log  string
	}{
		{imap, nil, "* BYE imapd-proxy expected exactly two arguments.",
			`^ERR: usage: imapd-proxy .* expected exactly two arguments, not 0`},
		{imap, []string{"-nonsense", "a", "b"}, "* BYE imapd-proxy expected exactly two arguments.",
			`^ERR: usage: .* -nonsense`},
		{pop3, []string{"a", "b", "c"}, "-ERR pop3d-proxy requires exactly two arguments.",
			`^ERR: usage: pop3d-proxy .* not 3`},
	} {
		p := harness.Tcpserver(
			t,
			harness.Listen{
				Addr: proxy, Port: test.s.Port,
				Program: append([]string{harness.Bin(t, test.s.Program)}, test.args...),
			},
		)
		harness.Dialogue(t, test.s.At(proxy), "S: "+test.want+"\nS-\n")
		p.Log.Wait(t, test.log)
		p.Stop()
	}
}

// Broken settings and files stop a session with their name in the log and a temporary failure for the client,
// which is not told in clear text where TLS comes first.
func TestBadSettings(t *testing.T) {
	broken := filepath.Join(harness.Dir(t), "imapd")
	harness.WriteFile(t, broken, "# comment\nIMAP_CAPABILITY=IMAP4rev1 IDLE\n", 0o644)
	for _, test := range []struct {
		env  harness.Env
		args []string
		log  string
	}{
		{harness.Env{"PROXY_KEEPALIVE": "off", "LOGIN_TIMEOUT": "x"}, nil,
			`^CRIT: environment: LOGIN_TIMEOUT="x": must be a number`},
		{nil, []string{"-config", broken}, `^CRIT: ` + broken +
			`:2: IMAP_CAPABILITY: "IDLE" after the value: a value with blanks has to be quoted`},
		{nil, []string{"-config", "/nonexistent/imapd"},
			`^CRIT: open /nonexistent/imapd: no such file or directory`},
		{harness.Env{"IMAP_TLS": "1", "LOGIN_TIMEOUT": "x"}, nil, `^CRIT: environment: LOGIN_TIMEOUT="x"`},
	} {
		s := imap
		p := harness.Tcpserver(t,
			harness.Listen{Addr: proxy, Port: s.Port, Env: test.env, Program: s.arguments(t, test.args...)})
		says := "S~ \\* BYE \\[UNAVAILABLE\\] Temporary problem.*\n"
		if test.env["IMAP_TLS"] != "" {
			says = ""
		}
		harness.Dialogue(t, s.At(proxy), says+"S-\n")
		p.Log.WaitN(t, 1, test.log)
		p.Stop()
	}
}

// An ordinary user can run a proxy; an account that is here gets a temporary failure, and the log says why.
func TestNotRoot(t *testing.T) {
	world(t)
	s := imap
	dir := harness.Dir(t)
	harness.Run(t, "", "install", "-m", "0755", harness.Bin(t, s.Program), dir)
	p := harness.Tcpserver(t, harness.Listen{Addr: proxy, Port: s.Port, Env: s.env(), Program: []string{
		"setpriv", "--reuid=courier", "--regid=courier", "--init-groups", filepath.Join(dir,
			s.Program), s.LocalServer, "Maildir"}})
	harness.Dialogue(t, s.At(proxy), s.Session("there", "pw"))
	harness.Dialogue(t, s.At(proxy), "S~ \\* OK .*\nC: a1 LOGIN here pw\nS~ a1 NO \\[UNAVAILABLE\\] .*\n")
	p.Log.Wait(t, `^ERR: local account here: not started as root, so local accounts cannot be served`)
	if found := p.Log.Find("LOGIN FAILED"); len(found) > 0 {
		t.Errorf("counted as the client's failure: %q", found)
	}
}
