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

	"mailproxy/authlib"
)

// conn is one connection. Operations other than binds may be under way on it at once.
type conn struct {
	ldap *goldap.Conn
	// net is what ldap reads and writes.
	net net.Conn
	// limit is how long an operation may take.
	limit time.Duration
}

// lostError says that a connection is of no more use. The operation may be repeated on another, unless its
// time is over.
type lostError struct {
	error
	late bool
}

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
		if err := c.within(ctx, func() error { return c.ldap.StartTLS(cfg) }); err != nil {
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

// within runs an operation. The library cannot be told to end one: when its time is over, so is the
// connection. The error is a [*lostError] when the connection cannot be used any more.
func (c *conn) within(ctx context.Context, operation func() error) error {
	end := time.Now().Add(c.limit)
	if earlier, ok := ctx.Deadline(); ok && earlier.Before(end) {
		end = earlier
	}
	timer := time.AfterFunc(time.Until(end), c.close)
	defer timer.Stop()
	err := operation()
	var answer *goldap.Error
	switch {
	case err == nil:
		return nil
	case !time.Now().Before(end):
		return &lostError{fmt.Errorf("no answer in time: %w", err), true}
	case !errors.As(err, &answer), c.ldap.IsClosing(), answer.ResultCode >= goldap.ErrorNetwork:
		return &lostError{err, false}
	}
	switch answer.ResultCode {
	case goldap.LDAPResultOperationsError, // Active Directory: a bind that is gone
		goldap.LDAPResultUnavailable, goldap.LDAPResultBusy:
		return &lostError{err, false}
	}
	return err
}

// bind logs in with a name and a password; both empty = as nobody. The error is a [*policyError] where the
// server says that a policy is the reason.
func (c *conn) bind(ctx context.Context, dn, password string) error {
	r := &goldap.SimpleBindRequest{Username: dn, Password: password, AllowEmptyPassword: true}
	if dn != "" {
		// Without it OpenLDAP does not tell an expired password from a wrong one.
		r.Controls = []goldap.Control{goldap.NewControlBeheraPasswordPolicy()}
	}
	var result *goldap.SimpleBindResult
	err := c.within(ctx, func() (err error) {
		result, err = c.ldap.SimpleBind(r)
		return err
	})
	if err == nil || result == nil {
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
	r := goldap.NewModifyRequest(dn, nil)
	for name, value := range attributes {
		r.Replace(name, []string{value})
	}
	return c.within(ctx, func() error { return c.ldap.Modify(r) })
}

// search returns what was found, even with some errors.
func (c *conn) search(ctx context.Context, r *goldap.SearchRequest) (result *goldap.SearchResult, err error) {
	err = c.within(ctx, func() error {
		result, err = c.ldap.Search(r)
		return err
	})
	return result, err
}
