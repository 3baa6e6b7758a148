package idle

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

// client is one logged-in session.
type client struct {
	net.Conn
	r *bufio.Reader
}

// login connects, over TLS if asked, and logs in.
func login(addr string, encrypted bool) (*client, error) {
	var c net.Conn
	var err error
	for range 20 { // a launcher that is behind may drop the connection
		if c, err = net.DialTimeout("tcp", addr, 20*time.Second); err == nil {
			break
		}
		time.Sleep(100 * time.Millisecond) // as a client does that tries again
	}
	if err != nil {
		return nil, err
	}
	_ = c.SetDeadline(time.Now().Add(60 * time.Second))
	if encrypted {
		t := tls.Client(c, &tls.Config{InsecureSkipVerify: true, ClientSessionCache: nil})
		if err := t.Handshake(); err != nil {
			c.Close()
			return nil, err
		}
		c = t
	}
	x := &client{c, bufio.NewReaderSize(c, 512)}
	if line, err := x.r.ReadString('\n'); err != nil || !strings.HasPrefix(line, "* OK") {
		c.Close()
		return nil, fmt.Errorf("greeting %q: %w", line, err)
	}
	if err := x.command("LOGIN ann secret"); err != nil {
		c.Close()
		return nil, err
	}
	return x, nil
}

// command sends one and waits for its OK.
func (c *client) command(text string) error {
	_ = c.SetDeadline(time.Now().Add(120 * time.Second))
	if _, err := io.WriteString(c, "a "+text+"\r\n"); err != nil {
		return err
	}
	return c.answered()
}

func (c *client) answered() error {
	for {
		line, err := c.r.ReadString('\n')
		if err != nil {
			return err
		}
		switch {
		case strings.HasPrefix(line, "a OK"):
			return nil
		case strings.HasPrefix(line, "a "):
			return fmt.Errorf("answer %q", line)
		}
	}
}

// crowd is many sessions.
type crowd []*client

func (c *crowd) grow(b *testing.B, n int, addr string, encrypted bool) {
	b.Helper()
	var mu sync.Mutex
	var wg sync.WaitGroup
	var failed error
	todo := make(chan struct{}, n)
	for range n - len(*c) {
		todo <- struct{}{}
	}
	close(todo)
	for range 8 {
		wg.Go(func() {
			for range todo {
				x, err := login(addr, encrypted)
				mu.Lock()
				if err != nil {
					failed = err
				} else {
					*c = append(*c, x)
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if failed != nil || len(*c) < n {
		b.Fatalf("%d of %d sessions: %v", len(*c), n, failed)
	}
}

// alive has every session answer a NOOP.
func (c crowd) alive(b *testing.B) {
	b.Helper()
	for i, x := range c {
		if err := x.command("NOOP"); err != nil {
			b.Fatalf("session %d of %d: %v", i, len(c), err)
		}
	}
}

func (c crowd) close() {
	for _, x := range c {
		if t, ok := x.Conn.(*tls.Conn); ok {
			t.NetConn().Close()
		}
		x.Close()
	}
}
