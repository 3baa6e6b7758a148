package ldap

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	goldap "github.com/go-ldap/ldap/v3"

	"mailproxy/authlib/pool"
)

// Tags of the operations (RFC 4511 section 4).
const (
	bindRequest      = 0x60
	bindResponse     = 0x61
	unbindRequest    = 0x42
	searchRequest    = 0x63
	searchEntry      = 0x64
	searchDone       = 0x65
	searchReference  = 0x73
	modifyRequest    = 0x66
	modifyResponse   = 0x67
	extendedRequest  = 0x77
	extendedResponse = 0x78
	controls         = 0xa0
	simplePassword   = 0x80
	extendedName     = 0x80
)

// oidStartTLS names the extended operation (RFC 4511 section 4.14), oidPaged the control (RFC 2696).
const (
	oidStartTLS = "1.3.6.1.4.1.1466.20037"
	oidPaged    = "1.2.840.113556.1.4.319"
)

// resultError is a server's answer other than success.
type resultError struct {
	op   string
	code int
	text string
}

func (e *resultError) Error() string {
	name := goldap.LDAPResultCodeMap[uint16(e.code)]
	if e.text != "" {
		return fmt.Sprintf("%s: the LDAP server says %d %s: %q", e.op, e.code, name, e.text)
	}
	return fmt.Sprintf("%s: the LDAP server says %d %s", e.op, e.code, name)
}

// conn is one connection: a question, then its answer, by one goroutine at a time. (go-ldap's own connection has two
// goroutines, and eight switches between goroutines a search: twice the processor time of everything else.)
type conn struct {
	net   net.Conn
	r     *bufio.Reader
	enc   encoder
	buf   []byte
	id    int
	limit time.Duration // of one operation
}

func newConn(n net.Conn, limit time.Duration) *conn {
	n = pool.Quick(n)
	return &conn{net: n, r: bufio.NewReaderSize(n, 2048), limit: limit}
}

// dial connects to one URI and, when there is a configuration for it, speaks TLS: at once for ldaps, after StartTLS for
// the others.
func dial(ctx context.Context, uri string, startTLS bool, config *tls.Config, limit time.Duration) (*conn, error) {
	deadline := pool.Deadline(ctx, limit)
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	network, addr, host, err := target(uri)
	if err != nil {
		return nil, err
	}
	var d net.Dialer
	n, err := d.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	c := newConn(n, limit)
	secure := func() error {
		if !strings.HasPrefix(uri, "ldaps:") {
			if err := c.startTLS(ctx); err != nil {
				return err
			}
		}
		cfg := config.Clone()
		cfg.ServerName = host
		t := tls.Client(n, cfg)
		if err := t.HandshakeContext(ctx); err != nil {
			return err
		}
		c.net, c.r = t, bufio.NewReaderSize(t, 2048)
		return nil
	}
	if strings.HasPrefix(uri, "ldaps:") || startTLS {
		if err := secure(); err != nil {
			n.Close()
			return nil, fmt.Errorf("%s: TLS: %w", uri, err)
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

// Close ends the connection; the server is told, but not waited for.
func (c *conn) Close() { c.net.Close() }

// begin starts a message; end of the operation and of the message are what send closes.
func (c *conn) begin(op byte) (ends [2]int) {
	c.id++
	if c.id == 1<<31-1 {
		c.id = 1
	}
	c.enc.b = c.enc.b[:0]
	ends[0] = c.enc.open(tagSequence)
	c.enc.num(tagInteger, c.id)
	ends[1] = c.enc.open(op)
	return ends
}

// send writes the message. The whole operation, answers included, must be over at the deadline that it sets.
func (c *conn) send(ctx context.Context, ends [2]int) error {
	if ends[1] > 0 {
		c.enc.close(ends[1])
	}
	c.enc.close(ends[0])
	if err := c.net.SetDeadline(pool.Deadline(ctx, c.limit)); err != nil {
		return pool.Dead(err)
	}
	_, err := c.net.Write(c.enc.b)
	clear(c.enc.b) // there may be a password in it
	return pool.Dead(err)
}

// receive reads the next message of the operation. Its content is valid until the next call.
func (c *conn) receive() (op value, rest []byte, err error) {
	content, buf, err := readMessage(c.r, c.buf)
	c.buf = buf
	if err != nil {
		return op, nil, pool.Dead(err)
	}
	raw, content, err := expect(content, tagInteger)
	if err != nil {
		return op, nil, pool.Dead(err)
	}
	id, err := number(raw)
	if err == nil && id != c.id {
		err = errors.New("the server is about to close the connection") // RFC 4511 section 4.4.1, or out of step
	}
	if err != nil {
		return op, nil, pool.Dead(err)
	}
	op, rest, err = next(content)
	return op, rest, pool.Dead(err)
}

// result reads the answer of an operation that has just one.
func (c *conn) result(op string, tag byte) error {
	v, _, err := c.receive()
	if err != nil {
		return err
	}
	if v.tag != tag {
		return pool.Dead(errBER)
	}
	return result(op, v.content)
}

// result decodes an LDAPResult: nil for success.
func result(op string, b []byte) error {
	raw, b, err := expect(b, tagEnumerated)
	if err != nil {
		return pool.Dead(err)
	}
	code, err := number(raw)
	if err != nil {
		return pool.Dead(err)
	}
	_, b, err = expect(b, tagString)
	if err != nil {
		return pool.Dead(err)
	}
	text, _, err := expect(b, tagString)
	if err != nil {
		return pool.Dead(err)
	}
	if code == goldap.LDAPResultSuccess {
		return nil
	}
	err = &resultError{op, code, string(text)}
	if code == goldap.LDAPResultUnavailable || code == goldap.LDAPResultBusy {
		return pool.Dead(err)
	}
	return err
}

func (c *conn) startTLS(ctx context.Context) error {
	ends := c.begin(extendedRequest)
	c.enc.str(extendedName, oidStartTLS)
	if err := c.send(ctx, ends); err != nil {
		return err
	}
	if err := c.result("StartTLS", extendedResponse); err != nil {
		return err
	}
	if c.r.Buffered() > 0 { // would be taken for the server's words under TLS
		return errors.New("the server goes on in clear text after StartTLS")
	}
	return nil
}

// bind logs in with a name and a password; both empty = as nobody.
func (c *conn) bind(ctx context.Context, version int, dn, password string) error {
	ends := c.begin(bindRequest)
	c.enc.num(tagInteger, version)
	c.enc.str(tagString, dn)
	c.enc.str(simplePassword, password)
	if err := c.send(ctx, ends); err != nil {
		return err
	}
	return c.result("bind", bindResponse)
}

// change replaces all values of some attributes of an entry.
func (c *conn) change(ctx context.Context, dn string, attributes map[string]string) error {
	ends := c.begin(modifyRequest)
	c.enc.str(tagString, dn)
	changes := c.enc.open(tagSequence)
	for name, v := range attributes {
		change := c.enc.open(tagSequence)
		c.enc.num(tagEnumerated, goldap.ReplaceAttribute)
		attribute := c.enc.open(tagSequence)
		c.enc.str(tagString, name)
		values := c.enc.open(tagSet)
		c.enc.str(tagString, v)
		c.enc.close(values)
		c.enc.close(attribute)
		c.enc.close(change)
	}
	c.enc.close(changes)
	if err := c.send(ctx, ends); err != nil {
		return err
	}
	return c.result("modify", modifyResponse)
}
