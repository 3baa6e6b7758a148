package tlsconf

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"mailproxy/internal/tlsfiles"
	"mailproxy/relay/record"
)

// Shared makes handshakes for many processes, from files that they have opened: what is the same for many handshakes is read
// and parsed once. Tickets are good for all of them, as long as settings, certificate and trusted certificates are the same; their
// keys never leave this process.
type Shared struct {
	tickets *tls.Config // does nothing but encrypt tickets, with keys that it renews by itself

	pairs    cache[pairID, *shelfPair]
	pools    cache[fileID, *x509.CertPool]
	policies cache[string, *policy]
	now      func() time.Time
}

// How much is kept: hosts by the thousand with a certificate each are served, some of them more slowly.
const maxPairs, maxPools, maxPolicies = 256, 8, 64

// NewShared returns a Shared with fresh ticket keys.
func NewShared() *Shared {
	return &Shared{tickets: &tls.Config{}, now: time.Now, pairs: newCache[pairID, *shelfPair](maxPairs),
		pools: newCache[fileID, *x509.CertPool](maxPools), policies: newCache[string, *policy](maxPolicies)}
}

// Request is one handshake that is asked for.
type Request struct {
	Options
	// Host is empty for a client's connection; else our side is the client of that mailhost.
	Host string
	// Files are open files by kind (tlsfiles.Cert, ...). They stay the caller's and are needed until Prepare returns.
	Files map[string]int
}

// ForName opens the certificate of a server that a client has named; none: the default serves. The files become the caller's.
type ForName func(server string) (map[string]int, error)

// Prepared is a handshake that can begin.
type Prepared struct {
	s      *Shared
	r      Request
	policy *policy
	pair   *shelfPair
	pool   *x509.CertPool
	trust  fileID
}

// policy is what settings say, without certificates.
type policy struct {
	key      string
	config   *tls.Config
	warnings []string
}

// pairID names a certificate and its key; shelfPair is what they are.
type pairID struct{ cert, key fileID }

type shelfPair struct {
	id   pairID
	pair *tls.Certificate
	leaf *x509.Certificate
}

// Prepare does all that can be done before a byte is read from the connection. An error means that the handshake can not be made
// here; its text names the setting or the file.
func (s *Shared) Prepare(r Request) (*Prepared, error) {
	p := &Prepared{s: s, r: r}
	var err error
	if p.policy, err = s.policy(&r); err != nil {
		return nil, err
	}
	if p.policy.config.ClientAuth != tls.NoClientCert || r.Host != "" && !p.policy.config.InsecureSkipVerify {
		if p.pool, p.trust, err = s.pool(r.Files); err != nil {
			return nil, err
		}
	}
	if r.Host == "" {
		if p.pair, err = s.pair(r.Files); err != nil {
			return nil, err
		}
	}
	for _, text := range p.policy.warnings {
		p.r.warn("%s", text)
	}
	return p, nil
}

// Handshake makes the handshake on conn, at most until the deadline of ctx. forName may be nil.
func (p *Prepared) Handshake(ctx context.Context, conn net.Conn, forName ForName) (*Conn, error) {
	if p.r.Host != "" {
		cfg := p.policy.config.Clone()
		cfg.ServerName, cfg.RootCAs = strings.TrimSuffix(p.r.Host, "."), p.pool
		return Connect(ctx, conn, cfg)
	}
	c := &Conn{raw: &rawConn{Conn: conn}}
	c.tap = record.NewTap(c.raw, false)
	c.Conn = tls.Server(c.tap, &tls.Config{GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		cfg, err := p.forClient(hello.ServerName, forName)
		if err == nil {
			c.tap.Configure(cfg)
		}
		return cfg, err
	}})
	if err := handshake(ctx, c, conn); err != nil {
		return nil, err
	}
	return c, nil
}

// forClient is the configuration for one ClientHello.
func (p *Prepared) forClient(server string, forName ForName) (*tls.Config, error) {
	pair := p.pair
	if server != "" && forName != nil {
		own, err := p.named(server, forName)
		if err != nil {
			p.r.warn("no TLS certificate for %q: %v", server, err)
		} else if own != nil {
			pair = own
		}
	}
	if now := p.s.now(); now.After(pair.leaf.NotAfter) {
		p.r.warn("the certificate of %q expired on %s", pair.leaf.Subject.CommonName, pair.leaf.NotAfter.Format("2006-01-02 15:04:05 MST"))
	}
	cfg := p.policy.config.Clone()
	cfg.Certificates = []tls.Certificate{*pair.pair}
	cfg.ClientCAs = p.pool
	p.bindTickets(cfg, pair.id)
	return cfg, nil
}

// named asks for the certificate of a server; nil: there is none.
func (p *Prepared) named(server string, forName ForName) (*shelfPair, error) {
	files, err := forName(server)
	defer closeFiles(files)
	if err != nil || len(files) == 0 {
		return nil, err
	}
	return p.s.pair(files)
}

// bindTickets has tickets count only where everything that decided about the first handshake is the same: who was let in under
// one set of trusted certificates is not let in under another.
func (p *Prepared) bindTickets(cfg *tls.Config, pair pairID) {
	h := sha256.New()
	fmt.Fprintf(h, "%q %v %v", p.policy.key, pair, p.trust)
	bound := h.Sum(nil)
	cfg.WrapSession = func(cs tls.ConnectionState, ss *tls.SessionState) ([]byte, error) {
		ss.Extra = append(ss.Extra, bound)
		return p.s.tickets.EncryptTicket(cs, ss)
	}
	cfg.UnwrapSession = func(ticket []byte, cs tls.ConnectionState) (*tls.SessionState, error) {
		ss, err := p.s.tickets.DecryptTicket(ticket, cs)
		if err != nil || ss == nil || len(ss.Extra) != 1 || !bytes.Equal(ss.Extra[0], bound) {
			return nil, nil // a full handshake
		}
		return ss, nil
	}
}

// policyNames are the settings that a policy depends on.
var policyNames = []string{"TLS_PROTOCOL", "TLS_STARTTLS_PROTOCOL", "TLS_PRIORITY", "TLS_CIPHER_LIST", "TLS_VERIFYPEER", "TLS_ALPN",
	"PROXY_TLS_VERIFYPEER"}

// policy reads the settings of a request.
func (s *Shared) policy(r *Request) (*policy, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "client=%v starttls=%v", r.Host == "", r.StartTLS)
	for _, name := range policyNames {
		fmt.Fprintf(&b, " %q", r.get(name))
	}
	key := b.String()
	if p, ok := s.policies.get(key, s.now()); ok {
		return p, nil
	}
	p := &policy{key: key}
	o := r.Options
	o.Warn = func(format string, a ...any) { p.warnings = append(p.warnings, fmt.Sprintf(format, a...)) }
	o.Now = nil
	var err error
	if r.Host != "" {
		p.config, err = o.clientPolicy()
	} else if p.config, err = o.serverPolicy(); err == nil {
		p.config.ClientAuth, err = o.clientAuth()
	}
	if err != nil {
		return nil, err
	}
	s.policies.put(key, p, s.now())
	return p, nil
}

// pair reads a certificate and its key, or knows them already.
func (s *Shared) pair(files map[string]int) (*shelfPair, error) {
	certFD, ok := files[tlsfiles.Cert]
	if !ok {
		return nil, errors.New("no certificate")
	}
	keyFD, ok := files[tlsfiles.Key]
	if !ok {
		keyFD = certFD
	}
	cert, err := identify(certFD, tlsfiles.MaxCert)
	if err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	key, err := identify(keyFD, tlsfiles.MaxCert)
	if err != nil {
		return nil, fmt.Errorf("private key: %w", err)
	}
	id := pairID{cert, key}
	if p, ok := s.pairs.get(id, s.now()); ok {
		return p, nil
	}
	certText, err := cert.read(certFD)
	if err != nil {
		return nil, err
	}
	keyText, err := key.read(keyFD)
	if err != nil {
		return nil, err
	}
	pair, leaf, err := parsePair(certText, keyText)
	if err != nil {
		return nil, err
	}
	pair.Leaf = leaf
	p := &shelfPair{id, pair, leaf}
	if now := s.now(); cert.settled(now) && key.settled(now) {
		s.pairs.put(id, p, now)
	}
	return p, nil
}

// pool reads trusted certificates, or knows them already.
func (s *Shared) pool(files map[string]int) (*x509.CertPool, fileID, error) {
	fd, ok := files[tlsfiles.Trust]
	if !ok {
		return nil, fileID{}, errors.New("no trusted certificates")
	}
	id, err := identify(fd, tlsfiles.MaxTrust)
	if err != nil {
		return nil, id, fmt.Errorf("trusted certificates: %w", err)
	}
	if pool, ok := s.pools.get(id, s.now()); ok {
		return pool, id, nil
	}
	text, err := id.read(fd)
	if err != nil {
		return nil, id, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, id, errors.New("trusted certificates: no certificate in the file")
	}
	if now := s.now(); id.settled(now) {
		s.pools.put(id, pool, now)
	}
	return pool, id, nil
}

// Forget drops what nobody has used for so long: keys that were replaced above all.
func (s *Shared) Forget(unused time.Duration) {
	before := s.now().Add(-unused)
	s.pairs.forget(before)
	s.pools.forget(before)
	s.policies.forget(before)
}

// Cause says why a handshake failed, without Go's own view of sockets: for the one log line about it.
func Cause(err error) string {
	var op *net.OpError
	switch {
	case errors.Is(err, context.Canceled):
		return "stopped"
	case isTimeout(err):
		return "timeout"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "connection closed"
	case errors.As(err, &op) && op.Err != nil && op.Op == "remote error":
		return "alert from the peer: " + op.Err.Error()
	case errors.As(err, &op) && op.Err != nil:
		return op.Err.Error()
	}
	return err.Error()
}

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}
