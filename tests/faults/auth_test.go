package faults

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"mailproxy/tests/harness"
)

// authFault is a misbehaviour of the auth module.
type authFault struct {
	name   string
	env    harness.Env               // settings; AUTHDAEMON_SOCKET is set to the fake's socket unless it is here
	fake   func(conn net.Conn) error // nil: nobody listens
	deaf   bool                      // somebody listens and does not accept
	want   outcome
	log    string // the one warning; empty: none
	failed bool   // a line LOGIN FAILED, which fail2ban counts
	hangs  bool   // only the front end's limits end it
}

// answer reads the request and writes text.
func answer(text string, then func(net.Conn) error) func(net.Conn) error {
	return func(conn net.Conn) error {
		conn.SetDeadline(time.Now().Add(waitLimit))
		if _, err := conn.Read(make([]byte, 4096)); err != nil {
			return err
		}
		if _, err := io.WriteString(conn, text); err != nil || then == nil {
			return nil
		}
		return then(conn)
	}
}

const noProgram = "/nonexistent/authdaemond"

var authFaults = []authFault{
	{
		name: "no daemon and no program", env: harness.Env{"AUTHDAEMON_PROGRAM": noProgram}, want: temporary,
		log: "authentication error",
	},
	{
		name: "a program that fails", env: harness.Env{"AUTHDAEMON_PROGRAM": "/bin/false"}, want: temporary,
		log: "authentication error",
	},
	{
		name: "a program that hangs", env: harness.Env{"AUTHDAEMON_PROGRAM": "HANG"}, want: temporary,
		log: "authentication error", hangs: true,
	},
	{
		name: "a program that talks nonsense", env: harness.Env{"AUTHDAEMON_PROGRAM": "/bin/echo"},
		want: temporary, log: "authentication error",
	},
	{
		name: "closes at once", fake: func(net.Conn) error { return nil }, want: temporary,
		log: "authentication error",
	},
	{name: "closes after the request", fake: answer("", nil), want: temporary, log: "authentication error"},
	{
		name: "closes in the answer", fake: answer("UID=8\nGID=8\nHOME=/tmp\n", nil), want: temporary,
		log: "authentication error",
	},
	{name: "hangs at once", fake: hang, want: temporary, log: "authentication error", hangs: true},
	{
		name: "hangs in the answer", fake: answer("UID=8\nGID=8\n", hang), want: temporary,
		log: "authentication error", hangs: true,
	},
	{name: "does not accept", deaf: true, want: temporary, log: "authentication error", hangs: true},
	{
		name: "garbage", fake: answer("\x00\xff\n\n<html>\n.\n", nil), want: temporary,
		log: "authentication error",
	},
	{
		name: "an answer without end", fake: answer("", endless("OPTIONS=x\n")), want: temporary,
		log: "authentication error",
	},
	{name: "a line without end", fake: answer("", endless("x")), want: temporary, log: "authentication error"},
	{name: "refuses", fake: answer("FAIL\n", nil), want: refused, failed: true},
	{
		name: "an account of root",
		fake: answer("UID=0\nGID=0\nHOME=/root\nADDRESS=u\nPASSWD2=pw\n.\n", nil), want: temporary,
		log: `authentication error, .* account "u" cannot be used: ` +
			`UID="0": not a decimal number from 1 to 4294967294`,
	},
	{
		name: "an account of nobody",
		fake: answer("UID=8\nGID=4294967295\nHOME=/tmp\nADDRESS=u\nPASSWD2=pw\n.\n", nil), want: temporary,
		log: `authentication error, .* account "u" cannot be used: ` +
			`GID="4294967295": not a decimal number from 1 to 4294967294`,
	},
	{
		name: "an account without a home", fake: answer("UID=8\nGID=8\nADDRESS=u\nPASSWD2=pw\n.\n", nil),
		want: temporary, log: "authentication error",
	},
	{
		name: "no clear password",
		fake: answer("UID=8\nGID=8\nHOME=/tmp\nADDRESS=u\nOPTIONS=mailhost="+good+"\n.\n", nil), want: denied,
		log: "proxy enabled, but no password for u",
	},
	{
		name: "one byte at a time",
		fake: answer("",
			bytewise("UID=8\nGID=8\nHOME=/tmp\nADDRESS=u\nPASSWD2=pw\nOPTIONS=mailhost="+good+"\n.\n")),
		want: loggedIn,
	},
}

func bytewise(text string) func(net.Conn) error {
	return func(conn net.Conn) error {
		for _, b := range []byte(text) {
			if _, err := conn.Write([]byte{b}); err != nil {
				return err
			}
			time.Sleep(time.Millisecond) // so that each is a packet of its own: the pace is what is tested
		}
		return nil
	}
}

// Each fault of the auth module: temporary failure in time, one log line that fail2ban does not count, no
// process left.
func TestAuthFaults(t *testing.T) {
	for _, p := range protocols {
		harness.NewFakeMailhost(t, p.At(good), harness.Scripted(t, 0, p.Mailhost+echo))
	}
	harness.EachFrontEnd(t, func(t *testing.T, m *harness.Mode) {
		t.Run("all", func(t *testing.T) {
			for i, f := range authFaults {
				for _, p := range protocols {
					t.Run(p.Name+"/"+f.name, func(t *testing.T) {
						t.Parallel()
						f.run(t, m, p, address(400+i))
					})
				}
			}
		})
		harness.NoneLeft(t, "imapd-proxy", "pop3d-proxy", "authdaemond", "sleep")
	})
}

func (f authFault) run(t *testing.T, m *harness.Mode, p protocol, addr string) {
	dir := harness.Dir(t)
	env := harness.Env{"AUTHDAEMON_SOCKET": filepath.Join(dir, "socket")}
	if f.hangs {
		env = hangingAuth.With(env)
	}
	for name, value := range f.env {
		if value == "HANG" {
			value = filepath.Join(dir, "hang")
			harness.WriteFile(t, value, "#!/bin/sh\nexec sleep 1000\n", 0o755)
		}
		env[name] = value
	}
	if _, own := f.env["AUTHDAEMON_PROGRAM"]; !own {
		env["AUTHDAEMON_PROGRAM"] = noProgram
	}
	if f.fake != nil {
		fakeDaemon(t, env["AUTHDAEMON_SOCKET"], f.fake)
	}
	if f.deaf {
		deafSocket(t, env["AUTHDAEMON_SOCKET"])
	}
	log := p.front(t, m, addr, env).Log(p.Name)
	if strings.HasPrefix(f.name, "an account without") {
		f.local(t, m, p, log, addr)
		return
	}
	p.attempt(t, addr, "u", f.want, "")
	if f.log != "" {
		log.Wait(t, f.log)
	}
	// "proxy enabled, but no proxy host defined" is Courier's warning that comes first for every account that
	// is here.
	want := map[bool]int{true: 1}[f.log != ""]
	if lines := log.Find(`^(WARN|ERR|CRIT): .*`); len(lines)-len(log.Find("no proxy host defined")) != want {
		t.Errorf("want %d warnings, have %q", want, lines)
	}
	log.WaitN(t, map[bool]int{true: 1}[f.failed], "LOGIN FAILED")
}

// local is for accounts that cannot be served here. The process may already be half of somebody else by
// then, so the session may end with the answer. A resident front end goes on: it is the process at
// PROXY_LOCAL that ends, and both write a line.
func (f authFault) local(t *testing.T, m *harness.Mode, p protocol, log *harness.Log, addr string) {
	if !m.Launched() {
		p.attempt(t, addr, "u", temporary, "")
		log.WaitN(t, 1, `^WARN: Login .* local.*, address=`+addr+`:1.*, user=u: .*Temporary problem`)
		log.WaitN(t, 1, `^WARN: u: chdir\(\) failed!!: `)
		log.WaitN(t, 2, `^(WARN|ERR|CRIT): [^p]`)
		log.WaitN(t, 0, "LOGIN FAILED")
		return
	}
	conn := harness.Connect(t, p.At(addr))
	conn.SetDeadline(time.Now().Add(waitLimit))
	login := "a LOGIN u pw\r\n"
	if p.Name == "POP3" {
		login = "USER u\r\nPASS pw\r\n"
	}
	io.WriteString(conn, login)
	said, err := io.ReadAll(conn)
	if err != nil || !strings.Contains(string(said), "Temporary problem, please try again later") {
		t.Errorf("said %q, %v", said, err)
	}
	// "proxy enabled, but no proxy host defined" is Courier's warning that comes first.
	log.WaitN(t, 1, `^(WARN|ERR|CRIT): [^p]`)
	if n := len(log.Find("LOGIN FAILED")); n != 0 {
		t.Errorf("%d lines LOGIN FAILED", n)
	}
}

// fakeDaemon listens on a unix socket as an authdaemond would, and serves each connection.
func fakeDaemon(t *testing.T, socket string, serve func(net.Conn) error) {
	t.Helper()
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	forEverybody(t, socket)
	var all sync.WaitGroup
	t.Cleanup(func() { l.Close(); all.Wait() })
	all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer conn.Close()
				if err := serve(conn); err != nil && strings.Contains(err.Error(), "without end") {
					t.Error(err)
				}
			})
		}
	})
}

// forEverybody lets every user connect to a socket: a resident front end is not root.
func forEverybody(t *testing.T, socket string) {
	t.Helper()
	if err := os.Chmod(socket, 0o666); err != nil {
		t.Fatal(err)
	}
}

// deafSocket listens on a unix socket and fills its queue, so that a connect waits.
func deafSocket(t *testing.T, socket string) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: socket}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	forEverybody(t, socket)
	for range 8 {
		c, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Close(c) })
		if err := unix.Connect(c, &unix.SockaddrUnix{Name: socket}); err == unix.EAGAIN {
			return
		}
	}
	t.Fatal(fmt.Errorf("the kernel lets everybody in"))
}
