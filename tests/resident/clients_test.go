package resident

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

// protocol is what clients and made-up mailhosts need to know of one. They are plain code, not scripts: there
// are thousands at a time.
type protocol struct {
	harness.Protocol
	// greeting and ok are the mailhost's.
	greeting, ok string
	// commands are the client's; the mailhost answers ok to each, the login is over with the last.
	commands []string
	later    string // in the refusal of a login that may succeed later
}

var protocols = []protocol{
	{
		Protocol: harness.IMAP, greeting: "* OK [CAPABILITY IMAP4rev1] ready", ok: "TAG OK in",
		commands: []string{"a LOGIN USER pw"}, later: "a NO [UNAVAILABLE] ",
	},
	{
		Protocol: harness.POP3, greeting: "+OK ready", ok: "+OK in",
		commands: []string{"USER USER", "PASS pw"}, later: "-ERR [SYS/TEMP] ",
	},
}

// server is a mailhost that can be stopped with all its connections.
type server struct {
	l        net.Listener
	sessions sync.WaitGroup

	mu      sync.Mutex
	conns   map[net.Conn]bool
	stopped bool
}

// newServer listens on addr ("ip:port") and calls session for each connection, which is closed afterwards. It
// stops with the test at the latest.
func newServer(t *testing.T, addr string, session func(net.Conn)) *server {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	s := &server{l: l, conns: map[net.Conn]bool{}}
	t.Cleanup(s.stop)
	s.sessions.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			if s.stopped {
				conn.Close()
			}
			s.conns[conn] = true
			s.mu.Unlock()
			s.sessions.Go(func() {
				session(conn)
				s.mu.Lock()
				defer s.mu.Unlock()
				conn.Close()
				delete(s.conns, conn)
			})
		}
	})
	return s
}

func (s *server) stop() {
	s.l.Close()
	s.mu.Lock()
	s.stopped = true
	for conn := range s.conns {
		conn.Close()
	}
	s.mu.Unlock()
	s.sessions.Wait()
}

// silent is a mailhost that accepts connections and says nothing.
func silent(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }

// serve is a mailhost that lets everybody in and answers each line with the same one.
func (p protocol) serve(conn net.Conn) {
	if p.logInServer(conn) == nil {
		_, _ = io.Copy(conn, conn)
	}
}

// logInServer is the mailhost's side of a login.
func (p protocol) logInServer(conn net.Conn) error {
	if _, err := fmt.Fprintf(conn, "%s\r\n", p.greeting); err != nil {
		return err
	}
	in := bufio.NewReader(conn)
	for range p.commands {
		line, err := in.ReadString('\n')
		if err != nil {
			return err
		}
		tag, _, _ := strings.Cut(line, " ")
		if _, err := fmt.Fprintf(conn, "%s\r\n", strings.ReplaceAll(p.ok, "TAG", tag)); err != nil {
			return err
		}
	}
	return nil
}

// comeBackLater is the refusal of a login that may succeed later.
type comeBackLater struct{ answer string }

func (e comeBackLater) Error() string { return e.answer }

// client is a mail program.
type client struct {
	protocol
	net.Conn
	in *bufio.Reader
}

// clientPatience is how long a client waits for an answer: above every time limit that is set in these tests.
const clientPatience = 5 * time.Minute

func (p protocol) dial(at string) (*client, error) {
	conn, err := net.DialTimeout("tcp", at, harness.Patience)
	if err != nil {
		return nil, err
	}
	_ = conn.SetDeadline(time.Now().Add(clientPatience))
	c := &client{p, conn, bufio.NewReader(conn)}
	if _, err := c.line(); err != nil {
		conn.Close()
		return nil, err
	}
	return c, nil
}

func (c *client) line() (string, error) {
	line, err := c.in.ReadString('\n')
	return strings.TrimSuffix(line, "\r\n"), err
}

// logIn tries to log in. The error is a comeBackLater where it may try again.
func (c *client) logIn(user string) error {
	for _, command := range c.commands {
		if _, err := fmt.Fprintf(c, "%s\r\n", strings.Replace(command, " USER", " "+user, 1)); err != nil {
			return err
		}
		answer, err := c.line()
		for err == nil && strings.HasPrefix(answer, "* ") {
			answer, err = c.line()
		}
		switch {
		case err != nil:
			return err
		case strings.HasPrefix(answer, c.later):
			return comeBackLater{answer}
		case !strings.HasPrefix(answer, "a OK") && !strings.HasPrefix(answer, "+OK"):
			return fmt.Errorf("told %q", answer)
		}
	}
	return nil
}

// echo says a line and reads it back from the mailhost.
func (c *client) echo(text string) error {
	if _, err := fmt.Fprintf(c, "%s\r\n", text); err != nil {
		return err
	}
	if got, err := c.line(); err != nil || got != text {
		return fmt.Errorf("the mailhost answers %q, %v", got, err)
	}
	return nil
}

// loginOnce is a client that logs in once and leaves.
func (p protocol) loginOnce(at, user string) error {
	c, err := p.dial(at)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.logIn(user); err != nil {
		return err
	}
	return c.echo("ping")
}
