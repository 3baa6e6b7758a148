package faults

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"mailproxy/tests/harness"
)

const (
	staying   = 200             // clients, half of them of each protocol
	notTaking = 10              // of each protocol: they read nothing of a last answer that is long
	lastLong  = 512 << 10       // bytes of that answer
	halfClose = 5 * time.Second // PROXY_HALFCLOSE_TIMEOUT
)

// Clients that log out and do not close their connections leave no process and no session after
// PROXY_HALFCLOSE_TIMEOUT and a second, whether they have read the last answer or not.
func TestManyClientsStay(t *testing.T) {
	socket := harness.Dir(t) + "/socket"
	account := "UID=8\nGID=8\nHOME=/tmp\nADDRESS=u\nPASSWD2=pw\nOPTIONS=mailhost=" + good + "\n.\n"
	fakeDaemon(t, socket, answer(account, nil))
	for _, p := range protocols {
		harness.NewFakeMailhost(t, p.At(good), lastAnswer(t, p))
	}
	harness.EachMode(t, func(t *testing.T, m *harness.Mode) {
		// The programs as they are shipped: so many with the race detector would take gigabytes.
		front := m.Start(t, harness.ProxyOptions{Addr: control, Shipped: true, Env: unlimited.With(harness.Env{
			"AUTHDAEMON_SOCKET": socket, "PROXY_HALFCLOSE_TIMEOUT": fmt.Sprint(int(halfClose.Seconds())),
		})})
		clients := make([]staysOn, staying)
		for i := range clients {
			clients[i].protocol, clients[i].takes = protocols[i%2], i/2 >= notTaking
		}
		everybody(t, clients, func(c *staysOn) error { return c.login(t) })
		everybody(t, clients, (*staysOn).logout)
		front.Idle(t)
		none := func() bool { return m.Relayd.Metric(t, "relayd_sessions") == 0 }
		if m.Relayd != nil && !harness.Eventually(none) {
			t.Errorf("relayd has %d sessions", m.Relayd.Metric(t, "relayd_sessions"))
		}
		for _, p := range protocols {
			front.Ends(p.Name).WaitN(t, staying/2, `^INFO: LOGOUT, user=u, .*, protocol=`+p.Name)
		}
		if m.Relayd != nil { // which counts both protocols
			front.Broken(t, "", 2*notTaking, "")
			return
		}
		for _, p := range protocols {
			front.Broken(t, p.Name, notTaking, "half-closed for too long")
		}
	})
}

// everybody calls f for all clients at once.
func everybody(t *testing.T, clients []staysOn, f func(*staysOn) error) {
	t.Helper()
	var all sync.WaitGroup
	for i := range clients {
		all.Go(func() {
			if err := f(&clients[i]); err != nil {
				t.Errorf("client %d: %v", i, err)
			}
		})
	}
	all.Wait()
	if t.Failed() {
		t.FailNow()
	}
}

// lastAnswer is a mailhost that lets a client in, answers one more command, and closes.
func lastAnswer(t *testing.T, p protocol) func(net.Conn) error {
	login := harness.Scripted(t, 0, p.Mailhost)
	return func(conn net.Conn) error {
		if err := login(conn); err != nil {
			return err
		}
		command, err := bufio.NewReader(conn).ReadString('\n')
		if err != nil {
			return err
		}
		if strings.HasPrefix(command, "LONG") {
			_, err = conn.Write(make([]byte, lastLong))
		} else {
			_, err = io.WriteString(conn, "bye\r\n")
		}
		return err
	}
}

// staysOn is a client that keeps its connection until the end of the test.
type staysOn struct {
	protocol protocol
	takes    bool // it reads the last answer
	conn     *net.TCPConn
	in       *bufio.Reader
}

func (c *staysOn) login(t *testing.T) error {
	conn, err := net.Dial("tcp", c.protocol.At(control))
	if err != nil {
		return err
	}
	t.Cleanup(func() { conn.Close() })
	c.conn = conn.(*net.TCPConn)
	if !c.takes {
		if err := c.conn.SetReadBuffer(4096); err != nil {
			return err
		}
	}
	_ = c.conn.SetDeadline(time.Now().Add(2 * harness.Patience))
	// In one go: the answers to USER and PASS are the second and third "+OK".
	text, last, answers := "a LOGIN u pw\r\n", "a OK", 1
	if c.protocol.Name == "POP3" {
		text, last, answers = "USER u\r\nPASS pw\r\n", "+OK", 3
	}
	if _, err := io.WriteString(c.conn, text); err != nil {
		return err
	}
	c.in = bufio.NewReaderSize(c.conn, 512)
	for answers > 0 {
		line, err := c.in.ReadString('\n')
		switch {
		case err != nil:
			return err
		case strings.HasPrefix(line, last):
			answers--
		case !strings.HasPrefix(line, "* "):
			return fmt.Errorf("login: %q", line)
		}
	}
	return nil
}

func (c *staysOn) logout() error {
	if !c.takes {
		_, err := io.WriteString(c.conn, "LONG\r\n")
		return err
	}
	if _, err := io.WriteString(c.conn, "LOGOUT\r\n"); err != nil {
		return err
	}
	if said, err := io.ReadAll(c.in); err != nil || string(said) != "bye\r\n" {
		return fmt.Errorf("logout: %q, %v", said, err)
	}
	return nil
}
