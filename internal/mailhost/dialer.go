// Package mailhost is the way to the servers that hold accounts: their names and addresses, connecting, the
// PROXY header and TLS on the way out, the time limits, and whether there is a slot among the logins at an
// address. The dialogue with a mailhost is in the protocols' packages, and package login decides what follows
// from an answer.
//
// It deliberately speaks neither IMAP nor POP3, and writes no log. What a dialogue has to know of a client
// (Conn's Tag, ID, UTF8) passes through it unread.
package mailhost

import (
	"context"
	"fmt"
	"net"
	"net/netip"

	"mailproxy/internal/config"
	"mailproxy/internal/connection"
	"mailproxy/internal/launch"
	"mailproxy/internal/peercred"
)

// Dialer connects to mailhosts. It is made once from settings and does not change.
type Dialer struct {
	Config *config.Config
	// Port and TLSPort are those of a mailhost whose option names none.
	Port, TLSPort string
	// Lookup finds the addresses of a host name, in the order to try them.
	Lookup func(ctx context.Context, host string) ([]netip.Addr, error)
	// Dial connects to a TCP address.
	Dial func(ctx context.Context, addr netip.AddrPort) (net.Conn, error)
	// Health gives out the slots among the logins at an address, and is told what came of each; nil = there
	// is always a slot.
	Health *Health
}

// Login is a protocol's dialogue with a mailhost, up to its answer to the login.
type Login func(ctx context.Context, m *Conn) error

// LogIn connects to an address of m.Host and calls login, with m.Conn ready for it: after a PROXY header and
// TLS where the settings want them, with PROXY_LOGIN_TIMEOUT as its deadline. When ctx ends the deadline is
// set to now. After nil the deadlines are off; after an error the connection is closed.
//
// If there is no slot at the address, LogIn does not connect and returns a StepError with ErrDown or ErrBusy.
func (d *Dialer) LogIn(ctx context.Context, m *Conn, addr netip.AddrPort, login Login) error {
	attempt, err := d.Health.acquire(ctx, m.Host, addr)
	if err != nil {
		return &StepError{StepConnect, err}
	}
	end := attempt.abandoned // after a panic
	defer func() { end() }()
	err = d.logIn(ctx, m, addr, login)
	switch d.classify(ctx, m, err, attempt.took()) {
	case answered:
		end = attempt.answered
	case absent:
		end = func() { attempt.failed(err) }
	}
	return err
}

// logIn is LogIn with a slot among the logins at the address.
func (d *Dialer) logIn(ctx context.Context, m *Conn, addr netip.AddrPort, login Login) error {
	conn, err := d.connect(ctx, m, addr)
	if err != nil {
		return &StepError{StepConnect, err}
	}
	ctx, cancel := context.WithTimeout(ctx, d.Config.MailhostTimeout)
	defer cancel()
	err = connection.During(ctx, conn, func() error {
		if err := d.prepare(ctx, m); err != nil {
			return err
		}
		return login(ctx, m)
	})
	if err != nil {
		m.Conn.Close()
	}
	return err
}

// Connect is the part of LogIn before the dialogue. m.StartTLS is set when STARTTLS or STLS is still to come.
// The caller closes m.Conn and sets its deadlines.
func (d *Dialer) Connect(ctx context.Context, m *Conn, addr netip.AddrPort) error {
	conn, err := d.connect(ctx, m, addr)
	if err != nil {
		return err
	}
	if err = connection.During(ctx, conn, func() error { return d.prepare(ctx, m) }); err != nil {
		conn.Close()
	}
	return err
}

// connect connects to one address within PROXY_CONNECT_TIMEOUT.
func (d *Dialer) connect(ctx context.Context, m *Conn, addr netip.AddrPort) (launch.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, d.Config.ConnectTimeout)
	defer cancel()
	c, err := d.dial(ctx, m.Path, addr)
	if err != nil {
		return nil, err
	}
	conn, ok := c.(launch.Conn)
	if !ok {
		c.Close()
		return nil, fmt.Errorf("a %T cannot be half-closed", c)
	}
	m.Conn, m.TLS, m.StartTLS = conn, false, nil
	return conn, nil
}

// dial connects to a unix socket, at which nobody but root and this process's own user is believed to listen,
// or else to an address.
func (d *Dialer) dial(ctx context.Context, path string, addr netip.AddrPort) (net.Conn, error) {
	if path == "" {
		return d.Dial(ctx, addr)
	}
	conn, err := new(net.Dialer).DialContext(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	if err := peercred.Listener(conn.(*net.UnixConn)); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// prepare sends the PROXY header and makes the TLS handshake, as far as the settings want them.
func (d *Dialer) prepare(ctx context.Context, m *Conn) error {
	if err := d.announce(m); err != nil {
		return err
	}
	return d.encrypt(ctx, m)
}
