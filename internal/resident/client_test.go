package resident_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

// client is a connection to a front end.
type client struct {
	net.Conn
	r *bufio.Reader
	p *process
}

// connect connects and reads the greeting.
func (p *process) connect(overTLS bool) (*client, error) {
	if overTLS {
		return p.connectWith(&tls.Config{InsecureSkipVerify: true})
	}
	return p.connectWith(nil)
}

// connectWith connects with TLS, or where there is no configuration for it, without.
func (p *process) connectWith(config *tls.Config) (*client, error) {
	addr, dial := p.plain, net.Dial
	if config != nil {
		addr = p.tls
		dial = func(network, addr string) (net.Conn, error) { return tls.Dial(network, addr, config) }
	}
	conn, err := dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	c := &client{conn, bufio.NewReader(conn), p}
	if line, err := c.r.ReadString('\n'); err != nil || !strings.Contains(line, "OK") {
		conn.Close()
		return nil, fmt.Errorf("greeting %q: %w", line, err)
	}
	return c, nil
}

// say begins a login: what remains is the answer.
func (c *client) say(user string) error {
	text := "a LOGIN " + user + " secret\r\n"
	if c.p.protocol == "pop3" {
		if _, err := io.WriteString(c, "USER "+user+"\r\n"); err != nil {
			return err
		}
		if line, err := c.r.ReadString('\n'); err != nil {
			return fmt.Errorf("USER: %q: %w", line, err)
		}
		text = "PASS secret\r\n"
	}
	_, err := io.WriteString(c, text)
	return err
}

// answered reads the answer to a login.
func (c *client) answered() error {
	for {
		line, err := c.r.ReadString('\n')
		switch {
		case err != nil:
			return fmt.Errorf("answer %q: %w", line, err)
		case strings.HasPrefix(line, "a OK"), strings.HasPrefix(line, "+OK"):
			return nil
		case !strings.HasPrefix(line, "* "):
			return fmt.Errorf("answer %q", line)
		}
	}
}

// login is a client with a session.
func (p *process) login(user string, overTLS bool) (*client, error) {
	if overTLS {
		return p.loginWith(user, &tls.Config{InsecureSkipVerify: true})
	}
	return p.loginWith(user, nil)
}

func (p *process) loginWith(user string, config *tls.Config) (*client, error) {
	c, err := p.connectWith(config)
	if err != nil {
		return nil, err
	}
	if err = c.say(user); err == nil {
		err = c.answered()
	}
	if err != nil {
		c.Close()
		return nil, fmt.Errorf("login of %s: %w", user, err)
	}
	return c, nil
}

func (p *process) mustLogin(user string, overTLS bool) *client {
	p.t.Helper()
	c, err := p.login(user, overTLS)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { c.Close() })
	return c
}

// echo sends bytes through the session and back.
func (c *client) echo(out []byte) error {
	if _, err := c.Write(out); err != nil {
		return err
	}
	in := make([]byte, len(out))
	if _, err := io.ReadFull(c.r, in); err != nil || !bytes.Equal(in, out) {
		return fmt.Errorf("%d bytes came back as others: %w", len(out), err)
	}
	return nil
}

func (c *client) mustEcho() {
	c.p.t.Helper()
	if err := c.echo([]byte("x NOOP\r\n")); err != nil {
		c.p.t.Fatal(err)
	}
}
