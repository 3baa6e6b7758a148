package ldap

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	goldap "github.com/go-ldap/ldap/v3"
	"github.com/jackc/puddle/v2"

	"mailproxy/authlib"
)

// conn is one connection: a question, then its answer, by one goroutine at a time.
type conn struct {
	ldap *goldap.Conn
	// net is what ldap reads and writes. Its deadline ends an operation, answers included: when it passes, ldap
	// closes.
	net   net.Conn
	limit time.Duration
	// used: a request has had it before. begun: the request under way cannot be repeated.
	used, begun bool
	deadline    time.Time
}

// lostError says that a connection is of no more use, though the question may be repeated on another.
type lostError struct{ error }

func (e *lostError) Unwrap() error { return e.error }

// dial connects to one URI and, when it is an ldaps: one or startTLS is set, speaks TLS.
func dial(
	ctx context.Context,
	uri string,
	startTLS bool,
	config *tls.Config,
	limit time.Duration,
) (*conn, error) {
	network, addr, host, err := target(uri)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var d net.Dialer
	n, err := d.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	cfg := config.Clone()
	cfg.ServerName = host
	ldaps := strings.HasPrefix(uri, "ldaps:")
	if ldaps {
		t := tls.Client(n, cfg)
		if err := t.HandshakeContext(ctx); err != nil {
			n.Close()
			return nil, fmt.Errorf("TLS: %w", err)
		}
		n = t
	}
	c := &conn{ldap: goldap.NewConn(n, ldaps), net: n, limit: limit}
	c.ldap.Start()
	if startTLS && !ldaps {
		if err := errors.Join(c.begin(ctx), c.ldap.StartTLS(cfg)); err != nil {
			c.close()
			return nil, fmt.Errorf("StartTLS: %w", err)
		}
	}
	return c, nil
}

// target splits an LDAP URI.
func target(uri string) (network, addr, host string, err error) {
	if path, ok := strings.CutPrefix(uri, "ldapi://"); ok {
		path, err := url.PathUnescape(strings.TrimSuffix(path, "/"))
		if path == "" {
			path = "/run/slapd/ldapi"
		}
		return "unix", path, "localhost", err
	}
	u, err := url.Parse(uri)
	if err != nil {
		return "", "", "", err
	}
	port, known := map[string]string{"ldap": "389", "ldaps": "636"}[u.Scheme]
	if !known {
		return "", "", "", fmt.Errorf("%q: not an LDAP URI", uri)
	}
	if u.Port() != "" {
		port = u.Port()
	}
	host = u.Hostname()
	if host == "" {
		host = "localhost"
	}
	return "tcp", net.JoinHostPort(host, port), host, nil
}

// close ends the connection without waiting for the server.
func (c *conn) close() {
	c.net.Close() // first: this ends what waits for the server
	c.ldap.Close()
}

// begin sets the time by which the next operation must be over.
func (c *conn) begin(ctx context.Context) error {
	c.deadline = time.Now().Add(c.limit)
	if end, ok := ctx.Deadline(); ok && end.Before(c.deadline) {
		c.deadline = end
	}
	return c.net.SetDeadline(c.deadline)
}

// judge makes lostErrors of those after which the connection cannot be used.
func (c *conn) judge(err error) error {
	var answer *goldap.Error
	switch {
	case err == nil:
		return nil
	case !time.Now().Before(c.deadline):
		return &lostError{fmt.Errorf("no answer in time: %w", err)}
	case !errors.As(err, &answer), c.ldap.IsClosing(), answer.ResultCode >= goldap.ErrorNetwork:
		return &lostError{err}
	}
	switch answer.ResultCode {
	case goldap.LDAPResultOperationsError, // Active Directory: a bind that is gone
		goldap.LDAPResultUnavailable, goldap.LDAPResultBusy:
		return &lostError{err}
	}
	return err
}

// bind logs in with a name and a password; both empty = as nobody. The error is a [*policyError] where the
// server says that a policy is the reason.
func (c *conn) bind(ctx context.Context, dn, password string) error {
	if err := c.begin(ctx); err != nil {
		return &lostError{err}
	}
	r := &goldap.SimpleBindRequest{Username: dn, Password: password, AllowEmptyPassword: true}
	if dn != "" {
		// Without it OpenLDAP does not tell an expired password from a wrong one.
		r.Controls = []goldap.Control{goldap.NewControlBeheraPasswordPolicy()}
	}
	result, err := c.ldap.SimpleBind(r)
	if err = c.judge(err); err == nil || result == nil {
		return err
	}
	control := goldap.FindControl(result.Controls, goldap.ControlTypeBeheraPasswordPolicy)
	policy, ok := control.(*goldap.ControlBeheraPasswordPolicy)
	if !ok {
		return err
	}
	switch policy.Error {
	case policyExpired:
		return &policyError{authlib.ErrExpired, "the password has expired", err}
	case policyLocked:
		return &policyError{authlib.ErrLocked, "the account is locked", err}
	case policyChange:
		return &policyError{authlib.ErrExpired, "the password must be changed first", err}
	}
	return err
}

// The errors of draft-behera-ldap-password-policy, section 6.2, with which a bind is refused.
const (
	policyExpired = 0
	policyLocked  = 1
	policyChange  = 2
)

// policyError is a bind that was refused for another reason than a wrong password.
type policyError struct {
	// kind is what the reason is for the client, a kind of authlib.ErrRefused.
	kind error
	text string
	err  error
}

func (e *policyError) Error() string { return e.text + ": " + e.err.Error() }
func (e *policyError) Unwrap() error { return e.err }

// change replaces all values of some attributes of an entry.
func (c *conn) change(ctx context.Context, dn string, attributes map[string]string) error {
	if err := c.begin(ctx); err != nil {
		return &lostError{err}
	}
	r := goldap.NewModifyRequest(dn, nil)
	for name, value := range attributes {
		r.Replace(name, []string{value})
	}
	return c.judge(c.ldap.Modify(r))
}

// search returns what was found, even with some errors.
func (c *conn) search(ctx context.Context, r *goldap.SearchRequest) (*goldap.SearchResult, error) {
	if err := c.begin(ctx); err != nil {
		return nil, &lostError{err}
	}
	result, err := c.ldap.Search(r)
	return result, c.judge(err)
}

// connections are at most so many, the one used last is used first.
type connections struct{ *puddle.Pool[*conn] }

// newConnections returns at most size connections made by dial.
func newConnections(size int, dial func(context.Context) (*conn, error)) (connections, error) {
	p, err := puddle.NewPool(
		&puddle.Config[*conn]{Constructor: dial, Destructor: (*conn).close, MaxSize: int32(max(size, 1))},
	)
	return connections{p}, err
}

// do calls use with a connection. When the server has ended one that has been used before, it has probably
// been restarted: use is called once more, with a fresh one.
func (p connections) do(ctx context.Context, use func(*conn) error) error {
	for again := true; ; again = false {
		r, err := p.acquire(ctx)
		if err != nil {
			return err
		}
		c := r.Value()
		again = again && c.used
		c.used, c.begun = true, false
		err = use(c)
		var lost *lostError
		if !errors.As(err, &lost) {
			if c.net.SetDeadline(time.Time{}) != nil {
				r.Destroy()
			} else {
				r.Release()
			}
			return err
		}
		again = again && !c.begun && time.Now().Before(c.deadline)
		r.Destroy()
		p.Reset() // the others are probably dead, too
		if !again {
			return err
		}
	}
}

// acquire waits for a connection that its server has not closed.
func (p connections) acquire(ctx context.Context) (*puddle.Resource[*conn], error) {
	for {
		r, err := p.Acquire(ctx)
		if err != nil {
			if ctx.Err() != nil {
				err = fmt.Errorf("no connection of %d free in time: %w", p.Stat().MaxResources(), err)
			}
			return nil, err
		}
		if !r.Value().ldap.IsClosing() {
			return r, nil
		}
		r.Destroy()
	}
}
