// Package bench measures logins and relayed sessions of our front ends against Courier's own, under the same
// couriertcpd, with the same auth daemon and the same mailhost, in the same run. "make bench" runs it;
// docs/performance.md has method and results.
package bench

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"mailproxy/tests/bench/measure"
	"mailproxy/tests/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

const mailhost = "127.0.0.9"

// candidate is a proxy that is measured.
type candidate struct {
	name     string
	addr     string
	protocol string
	pids     []int // whose processor time counts, with that of their children
	launcher int   // couriertcpd
}

// candidates are Courier's login program, ours, and ours with relayd, all under couriertcpd.
func candidates(t testing.TB, protocol string) []candidate {
	t.Helper()
	harness.Userdb(t, harness.Account{Name: "user", Password: "pw", Options: "mailhost=" + mailhost})
	harness.CourierAuthdaemond(t, "authuserdb", nil)
	startMailhost(t, protocol)
	relayd := harness.PlainRelayd(t)
	name := map[string]string{"IMAP": "imapd-proxy", "POP3": "pop3d-proxy"}[protocol]
	courier := map[string]string{"IMAP": harness.CourierIMAPLogin, "POP3": harness.CourierPOP3Login}[protocol]
	start := map[string]func(testing.TB, string, string, harness.Env) *harness.Process{
		"IMAP": harness.IMAPUnderCourier, "POP3": harness.POP3UnderCourier}[protocol]
	all := []candidate{}
	for i, c := range []struct {
		name, program string
		env           harness.Env
	}{
		{"Courier", courier, nil},
		{name, harness.PlainBin(t, name), nil},
		{name + " and relayd", harness.PlainBin(t, name), harness.Env{"RELAY_SOCKET": relayd.Socket}},
	} {
		// GOMAXPROCS is what our samples for every launcher set; Courier's programs do not look at it.
		env := harness.Env{"IMAP_PROXY": "1", "POP3_PROXY": "1", "GOMAXPROCS": "1"}
		for k, v := range c.env {
			env[k] = v
		}
		addr := fmt.Sprintf("127.0.1.%d", i+1)
		p := start(t, addr, c.program, env)
		one := candidate{
			name: c.name, addr: addr + map[string]string{"IMAP": ":143", "POP3": ":110"}[protocol],
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

// startMailhost is the mailhost of the measurements: it lets everybody in, answers NOOP, and moves bulk data
// as told by "SEND n" and "TAKE n". A real one would only add noise.
func startMailhost(t testing.TB, protocol string) {
	t.Helper()
	port := map[string]string{"IMAP": ":143", "POP3": ":110"}[protocol]
	harness.NewFakeMailhost(t, mailhost+port, func(conn net.Conn) error {
		in := bufio.NewReaderSize(conn, 256<<10)
		if protocol == "POP3" {
			io.WriteString(conn, "+OK hello\r\n")
		} else {
			io.WriteString(conn, "* OK [CAPABILITY IMAP4rev1] hello\r\n")
		}
		for {
			line, err := in.ReadString('\n')
			if err != nil {
				return err
			}
			words := strings.Fields(line)
			switch {
			case protocol == "POP3" && words[0] != "SEND" && words[0] != "TAKE":
				_, err = io.WriteString(conn, "+OK\r\n")
				if words[0] == "QUIT" {
					return err
				}
			case words[0] == "SEND":
				n, _ := strconv.ParseInt(words[1], 10, 64)
				err = pour(conn, n)
			case words[0] == "TAKE":
				n, _ := strconv.ParseInt(words[1], 10, 64)
				if _, err = io.CopyN(io.Discard, in, n); err == nil {
					_, err = io.WriteString(conn, "taken\r\n")
				}
			case len(words) > 1 && words[1] == "LOGOUT":
				_, err = io.WriteString(conn, "* BYE bye\r\n"+words[0]+" OK\r\n")
				return err
			default:
				_, err = io.WriteString(conn, words[0]+" OK\r\n")
			}
			if err != nil {
				return err
			}
		}
	})
}

var errShort = errors.New("short write")

// pour writes n bytes.
func pour(w io.Writer, n int64) error {
	for block := make([]byte, 256<<10); n > 0; {
		m, err := w.Write(block[:min(n, int64(len(block)))])
		if err != nil {
			return err
		}
		if m == 0 {
			return errShort
		}
		n -= int64(m)
	}
	return nil
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
	conn, err := net.Dial("tcp", c.addr)
	if err != nil {
		t.Fatal(err)
	}
	conn.SetDeadline(time.Now().Add(5 * time.Minute))
	s := &session{c: c, conn: conn, in: bufio.NewReaderSize(conn, 256<<10)}
	s.expect(t, "")
	return s
}

// login logs in and returns the session.
func (c candidate) login(t testing.TB) *session {
	t.Helper()
	s := c.dial(t)
	if c.protocol == "POP3" {
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
	if s.c.protocol == "POP3" {
		s.say(t, "NOOP", "+OK")
	} else {
		s.say(t, "n NOOP", "n OK")
	}
}

func (s *session) logout(t testing.TB) {
	t.Helper()
	if s.c.protocol == "POP3" {
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
