package logins

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// clients is how many log in at a time.
const clients = 8

// client is one that logs in again and again.
type client struct {
	k      kind
	addr   string
	config *tls.Config
	times  []float64 // from connecting to the answer to the login, in milliseconds
	again  int       // handshakes that resumed a session
}

// turn is what one candidate did in one turn.
type turn struct {
	logins  int
	seconds float64
	times   []float64
	again   int
}

// work has all clients log in and out until the time is over, each once at least.
func work(t testing.TB, k kind, addr string, d time.Duration) turn {
	t.Helper()
	all := make([]*client, clients)
	errs := make([]error, clients)
	start := time.Now()
	end := start.Add(d)
	var wg sync.WaitGroup
	for i := range all {
		all[i] = newClient(k, addr)
		wg.Go(func() {
			for errs[i] == nil {
				errs[i] = all[i].session()
				if time.Now().After(end) {
					return
				}
			}
		})
	}
	wg.Wait()
	r := turn{seconds: time.Since(start).Seconds()}
	for i, c := range all {
		if errs[i] != nil {
			t.Fatalf("%s at %s: %v", k.security, addr, errs[i])
		}
		r.logins += len(c.times)
		r.times = append(r.times, c.times...)
		r.again += c.again
	}
	return r
}

func newClient(k kind, addr string) *client {
	c := &client{k: k, addr: addr}
	if k.tls() {
		c.config = &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13}
	}
	if k.security == resumed {
		c.config.ServerName = "bench.example" // what sessions are kept under
		c.config.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	}
	return c
}

// session logs in and out once.
func (c *client) session() error {
	start := time.Now()
	conn, err := net.Dial("tcp", c.addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(start.Add(time.Minute)); err != nil {
		return err
	}
	if c.config != nil {
		encrypted := tls.Client(conn, c.config)
		if err := encrypted.Handshake(); err != nil {
			return err
		}
		if encrypted.ConnectionState().DidResume {
			c.again++
		}
		conn = encrypted
	}
	in := bufio.NewReaderSize(conn, 512)
	steps := imapSteps
	if c.k.Name == "POP3" {
		steps = pop3Steps
	}
	for i, s := range steps {
		if err := ask(conn, in, s.send, s.want); err != nil {
			return err
		}
		if i == len(steps)-2 { // the last one logs out
			c.times = append(c.times, float64(time.Since(start))/float64(time.Millisecond))
		}
	}
	_, err = io.Copy(io.Discard, in)
	return err
}

type step struct{ send, want string }

var (
	imapSteps = []step{
		{"", "* OK"}, {"a LOGIN " + user + " " + password + "\r\n", "a OK"}, {"z LOGOUT\r\n", "z OK"},
	}
	pop3Steps = []step{
		{"", "+OK"}, {"USER " + user + "\r\n", "+OK"}, {"PASS " + password + "\r\n", "+OK"}, {"QUIT\r\n", "+OK"},
	}
)

// ask sends a command and reads its answer, whatever untagged lines there are before it.
func ask(conn net.Conn, in *bufio.Reader, command, want string) error {
	if command != "" {
		if _, err := io.WriteString(conn, command); err != nil {
			return err
		}
	}
	for {
		line, err := in.ReadString('\n')
		switch {
		case err != nil:
			return fmt.Errorf("after %q: %w", command, err)
		case strings.HasPrefix(line, want):
			return nil
		case !strings.HasPrefix(line, "* ") || command == "":
			return fmt.Errorf("after %q: %q", command, line)
		}
	}
}
