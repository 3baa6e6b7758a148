// Package bench measures logins and relayed sessions of our front ends against Courier's own, under the same
// couriertcpd, with the same authdaemond and the same mailhost, in the same run. "make bench" runs it;
// docs/performance.md has method and results.
package bench

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"mailproxy/tests/bench/mailhost"
	"mailproxy/tests/bench/measure"
	"mailproxy/tests/harness"
)

func TestMain(m *testing.M) {
	if mailhost.Started() {
		os.Exit(mailhost.Run())
	}
	os.Exit(harness.Main(m))
}

const mailhostAddr = "127.0.0.9"

// candidate is a proxy that is measured.
type candidate struct {
	name     string
	addr     string
	protocol harness.Protocol
	pids     []int // whose processor time counts, with that of their children
	launcher int   // couriertcpd
}

// candidates are Courier's login program, ours, and ours with relayd, all under couriertcpd and with the
// timer slack that our units and recipes set.
func candidates(t testing.TB, protocol harness.Protocol) []candidate {
	t.Helper()
	harness.Userdb(t, harness.Account{Name: "user", Password: "pw", Options: "mailhost=" + mailhostAddr})
	harness.CourierAuthdaemond(t, "authuserdb", nil)
	mailhost.Start(t, mailhostAddr)
	var relayd *harness.Service
	measure.WithTimerSlack(t, func() { relayd = harness.PlainRelayd(t) })
	all := []candidate{}
	for i, c := range []struct {
		name, program string
		env           harness.Env
	}{
		{"Courier", protocol.CourierLogin, nil},
		{protocol.Program, harness.PlainBin(t, protocol.Program), nil},
		{protocol.Program + " and relayd", harness.PlainBin(t, protocol.Program),
			harness.Env{"RELAY_SOCKET": relayd.Socket}},
	} {
		// GOMAXPROCS is what our samples for every launcher set; Courier's programs do not look at it.
		env := harness.Env{"IMAP_PROXY": "1", "POP3_PROXY": "1", "GOMAXPROCS": "1"}.With(c.env)
		addr := fmt.Sprintf("127.0.1.%d", i+1)
		var p *harness.Process
		measure.WithTimerSlack(t, func() { p = protocol.UnderCourier(t, addr, c.program, env) })
		one := candidate{
			name: c.name, addr: protocol.At(addr),
			protocol: protocol, launcher: p.Cmd.Process.Pid, pids: []int{p.Cmd.Process.Pid},
		}
		if c.env != nil {
			one.pids = append(one.pids, relayd.Cmd.Process.Pid)
		}
		all = append(all, one)
	}
	return all
}

func names(all []candidate) []string {
	var list []string
	for _, c := range all {
		list = append(list, c.name)
	}
	return list
}

// cpu waits until every session's process has ended, and returns the processor time so far.
func (c candidate) cpu(t testing.TB) time.Duration {
	t.Helper()
	if !harness.Eventually(func() bool { return len(measure.Children(t, c.launcher)) == 0 }) {
		t.Fatal("a session does not end")
	}
	return measure.CPU(t, c.pids...)
}

// session is a client that has logged in.
type session struct {
	c    candidate
	conn net.Conn
	in   *bufio.Reader
}

// dial connects and reads the greeting.
func (c candidate) dial(t testing.TB) *session {
	t.Helper()
	conn := harness.Connect(t, c.addr)
	conn.SetDeadline(time.Now().Add(5 * time.Minute))
	s := &session{c: c, conn: conn, in: bufio.NewReaderSize(conn, 256<<10)}
	s.expect(t, "")
	return s
}

// login logs in and returns the session.
func (c candidate) login(t testing.TB) *session {
	t.Helper()
	s := c.dial(t)
	if c.protocol.Name == "POP3" {
		s.say(t, "USER user", "+OK")
		s.say(t, "PASS pw", "+OK")
	} else {
		s.say(t, "a LOGIN user pw", "a OK")
	}
	return s
}

func (s *session) say(t testing.TB, line, want string) {
	t.Helper()
	if _, err := io.WriteString(s.conn, line+"\r\n"); err != nil {
		t.Fatal(err)
	}
	s.expect(t, want)
}

func (s *session) expect(t testing.TB, want string) {
	t.Helper()
	line, err := s.in.ReadString('\n')
	if err != nil || !strings.HasPrefix(line, want) {
		t.Fatalf("%s: got %q, want %q: %v", s.c.name, line, want, err)
	}
}

func (s *session) noop(t testing.TB) {
	t.Helper()
	if s.c.protocol.Name == "POP3" {
		s.say(t, "NOOP", "+OK")
	} else {
		s.say(t, "n NOOP", "n OK")
	}
}

func (s *session) logout(t testing.TB) {
	t.Helper()
	if s.c.protocol.Name == "POP3" {
		s.say(t, "QUIT", "+OK")
	} else {
		s.say(t, "z LOGOUT", "*")
		s.expect(t, "z OK")
	}
	if _, err := s.in.ReadByte(); !errors.Is(err, io.EOF) {
		t.Fatalf("%s: %v instead of the end", s.c.name, err)
	}
	s.conn.Close()
}
