package frontend

import (
	"context"
	"errors"
	"fmt"
	"net"

	"mailproxy/internal/config"
	"mailproxy/internal/launch"
	"mailproxy/internal/login"
	"mailproxy/internal/tlsconf"
)

// TLS makes handshakes with clients.
type TLS interface {
	// Check says what is missing when no handshake can be made: Handshake would fail whatever the client
	// does.
	Check(o tlsconf.Options) error
	// Handshake makes the handshake on conn, at most until the deadline of ctx. An error that is a
	// *setupError is about the installation, any other about the client.
	Handshake(ctx context.Context, conn net.Conn, o tlsconf.Options) (*tlsconf.Conn, error)
}

// setupError says that no handshake can be made with any client.
type setupError struct{ error }

// Unwrap returns the cause.
func (e *setupError) Unwrap() error { return e.error }

// FileTLS reads the files of TLS_CERTFILE and the others for each connection, or by way of a memory.
type FileTLS struct {
	Settings config.TLS
	Memory   *tlsconf.Memory // nil = everything is read each time
}

// Check is part of TLS.
func (f FileTLS) Check(o tlsconf.Options) error {
	o.TLS, o.Memory = f.Settings, f.Memory
	return tlsconf.Check(o)
}

// Handshake is part of TLS.
func (f FileTLS) Handshake(ctx context.Context, conn net.Conn, o tlsconf.Options) (*tlsconf.Conn, error) {
	o.TLS, o.Memory = f.Settings, f.Memory
	server, err := tlsconf.NewServer(o)
	if err != nil {
		return nil, &setupError{err}
	}
	return server.Handshake(ctx, conn)
}

// beginTLS finds out whether the connection is encrypted and, where it should be and is not yet, makes the
// handshake (port 993 and 995 without couriertls). It is called once, before the greeting. An error ends the
// session without a word: it is logged, and the client would not understand clear text.
func (c *Conn) beginTLS(ctx context.Context) error {
	c.TLS = c.Config.Encrypted || c.tlsAtBalancer
	if !c.beginsWithTLS() {
		return nil
	}
	return c.handshake(ctx, false)
}

// beginsWithTLS says whether the client's first bytes are those of a handshake that is ours to make.
func (c *Conn) beginsWithTLS() bool {
	return (c.Config.Encrypted || c.tlsAtBalancer) && !TLSInFront(c.Client, c.Peer)
}

// TLSInFront tells a connection that somebody else decrypts for us from one that carries TLS itself.
// couriertls says so in our environment, a balancer in its PROXY header; other programs between us and
// the client (stunnel, s6-tlsd) give us a socket pair or pipes. What remains, a TCP socket under IMAP_TLS=1,
// is the client's own.
func TLSInFront(conn net.Conn, peer launch.Peer) bool {
	if peer.TLS.Encrypted() {
		return true
	}
	_, tcp := conn.RemoteAddr().(*net.TCPAddr)
	return !tcp
}

// OffersStartTLS says whether STARTTLS (STLS) is to be advertised and accepted: the setting says yes, the
// connection is not encrypted yet, and there is a certificate. What is missing is logged the first time (by a
// process of many connections, see tlsconf.Memory).
func (c *Conn) OffersStartTLS() bool {
	if c.TLS || !c.Config.StartTLS {
		return false
	}
	if c.startTLS == 0 {
		c.startTLS = startTLSReady
		if err := c.server.TLS.Check(c.tlsOptions(true)); err != nil {
			c.startTLS = startTLSBroken
			if certificate, ok := errors.AsType[*tlsconf.CertificateError](err); !ok || !certificate.Again {
				c.LogNotOffered(err)
			}
		}
	}
	return c.startTLS == startTLSReady
}

// startTLSState remembers what OffersStartTLS found out.
type startTLSState int

const (
	startTLSReady startTLSState = 1 + iota
	startTLSBroken
)

// NeedsTLS says that logins must be refused until the connection is encrypted (IMAP_TLS_REQUIRED,
// POP3_TLS_REQUIRED).
func (c *Conn) NeedsTLS() bool {
	return !c.TLS && c.Config.TLSRequired
}

// StartTLS makes the handshake, after the dialogue has said that it may begin. Whatever the client sent
// after its command in clear text is still in the connection, is no TLS record, and so fails the handshake
// (CVE-2011-0411). Settings change as for a session that was encrypted from the start. After an error the
// session is over; it is logged, and no further log line or text follows.
func (c *Conn) StartTLS(ctx context.Context) error {
	if err := c.handshake(ctx, true); err != nil {
		return err
	}
	c.In.Reset(c.Client)
	return nil
}

// handshake replaces the connection by an encrypted one.
func (c *Conn) handshake(ctx context.Context, startTLS bool) error {
	ctx, cancel := context.WithDeadline(ctx, c.Deadline())
	defer cancel()
	ctx, cancel = context.WithTimeout(ctx, c.Config.TLS.Handshake)
	defer cancel()
	conn, err := c.server.TLS.Handshake(ctx, c.Client, c.tlsOptions(startTLS))
	if err != nil {
		c.LogTLSFailed(isOurs(err), err)
		return fmt.Errorf("%w: TLS: %w", login.ErrEnd, err)
	}
	state := conn.ConnectionState()
	c.Peer.TLS = tlsconf.Facts(&state)
	c.encrypted(conn)
	return nil
}

// isOurs says whether a handshake failed by the installation's fault, and not yet for that reason.
func isOurs(err error) bool {
	if certificate, ok := errors.AsType[*tlsconf.CertificateError](err); ok {
		return !certificate.Again
	}
	_, ok := errors.AsType[*setupError](err)
	return ok
}

// doesTLS says whether this process itself encrypts the connection.
func doesTLS(conn launch.Conn) bool {
	_, ok := conn.(interface{ NetConn() net.Conn })
	return ok
}

func (c *Conn) tlsOptions(startTLS bool) tlsconf.Options {
	return tlsconf.Options{
		LocalIP:  c.Peer.LocalIP,
		StartTLS: startTLS,
		Warn:     c.Log.Warnf,
		Err:      c.Log.Errf,
	}
}
