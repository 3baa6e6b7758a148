package frontend

import (
	"context"
	"errors"
	"fmt"
	"net"

	"mailproxy/internal/config"
	"mailproxy/internal/launch"
	"mailproxy/internal/tlsconf"
)

// setting returns a setting that IMAP and POP3 have by their own names: IMAP_TLS, POP3_TLS.
func (s *Conn) setting(suffix string) string { return s.Protocol.Name + suffix }

// TLS makes handshakes with clients.
type TLS interface {
	// Check says what is missing when no handshake can be made: Handshake would fail whatever the client
	// does.
	Check(o tlsconf.Options) error
	// Handshake makes the handshake on conn, at most until the deadline of ctx. An error that is a
	// *SetupError is about the installation, any other about the client.
	Handshake(ctx context.Context, conn net.Conn, o tlsconf.Options) (*tlsconf.Conn, error)
}

// SetupError says that no handshake can be made with any client.
type SetupError struct{ error }

// Unwrap returns the cause.
func (e *SetupError) Unwrap() error { return e.error }

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
		return nil, &SetupError{err}
	}
	return server.Handshake(ctx, conn)
}

// beginTLS finds out whether the connection is encrypted and, where it should be and is not yet, makes the
// handshake (port 993 and 995 without couriertls). It is called once, before the greeting. An error ends the
// session without a word: it is logged, and the client would not understand clear text.
func (s *Conn) beginTLS(ctx context.Context) error {
	s.TLS = s.Config.Encrypted || s.tlsAtBalancer
	if !s.TLS || s.tlsInFront() {
		return nil
	}
	return s.handshake(ctx, false)
}

// tlsInFront tells a connection that somebody else decrypts for us from one that carries TLS itself.
// couriertls says so in our environment, a balancer in its PROXY header; whoever else stands between us and
// the client (stunnel, s6-tlsd) gives us a socket pair or pipes. What remains, a TCP socket under IMAP_TLS=1,
// is the client's own.
func (s *Conn) tlsInFront() bool {
	if s.Peer.TLS.Encrypted() {
		return true
	}
	_, tcp := s.Client.RemoteAddr().(*net.TCPAddr)
	return !tcp
}

// OffersStartTLS says whether STARTTLS (STLS) is to be advertised and accepted: the setting says yes, the
// connection is not encrypted yet, and there is a certificate. What is missing is logged the first time.
func (s *Conn) OffersStartTLS() bool {
	if s.TLS || !s.Config.StartTLS {
		return false
	}
	if s.startTLS == 0 {
		s.startTLS = startTLSReady
		if err := s.Options.TLS.Check(s.tlsOptions(true)); err != nil {
			s.startTLS = startTLSBroken
			s.logNotOffered(err)
		}
	}
	return s.startTLS == startTLSReady
}

// startTLSState remembers what OffersStartTLS found out.
type startTLSState int

const (
	startTLSReady startTLSState = 1 + iota
	startTLSBroken
)

// NeedsTLS says that logins must be refused until the connection is encrypted (IMAP_TLS_REQUIRED,
// POP3_TLS_REQUIRED).
func (s *Conn) NeedsTLS() bool {
	return !s.TLS && s.Config.TLSRequired
}

// StartTLS makes the handshake, after the dialogue has said that it may begin. Whatever the client sent
// behind its command in clear text is still in the connection, is no TLS record, and so fails the handshake
// (CVE-2011-0411). Settings change as for a session that was encrypted from the start. After an error the
// session is over; it is logged, and no further log line or text follows.
func (s *Conn) StartTLS(ctx context.Context) error { return s.handshake(ctx, true) }

// handshake replaces the connection by an encrypted one.
func (s *Conn) handshake(ctx context.Context, startTLS bool) error {
	ctx, cancel := s.limited(ctx)
	defer cancel()
	ctx, cancel = context.WithTimeout(ctx, s.Config.TLS.Handshake)
	defer cancel()
	conn, err := s.Options.TLS.Handshake(ctx, s.Client, s.tlsOptions(startTLS))
	if err != nil {
		if isOurs(err) {
			return s.tlsFailed(s.Log.Errf, err)
		}
		return s.tlsFailed(s.Log.Infof, err) // scanners cause it by the dozen
	}
	state := conn.ConnectionState()
	s.Peer.TLS = tlsconf.Facts(&state)
	s.encrypted(conn)
	return nil
}

// isOurs says whether a handshake failed by the installation's fault, and not yet for that reason.
func isOurs(err error) bool {
	if certificate, ok := errors.AsType[*tlsconf.CertificateError](err); ok {
		return !certificate.Again
	}
	_, ok := errors.AsType[*SetupError](err)
	return ok
}

// tlsFailed writes the one line about a handshake with the client that failed; the session ends with it.
func (s *Conn) tlsFailed(write func(string, ...any), err error) error {
	write("TLS FAILED, %s: %s", s.where(), tlsCause(err))
	return fmt.Errorf("%w: TLS: %w", ErrEnd, err)
}

// ExternalName is the login name that the client's certificate proves by way of TLS_EXTERNAL; "" when
// EXTERNAL is not to be offered.
func (s *Conn) ExternalName() string {
	if !s.TLS {
		return ""
	}
	return s.Peer.TLS.External(s.Config.TLS.External)
}

// doesTLS says whether this process itself encrypts the connection.
func doesTLS(conn launch.Conn) bool {
	_, ok := conn.(interface{ NetConn() net.Conn })
	return ok
}

func (s *Conn) tlsOptions(startTLS bool) tlsconf.Options {
	return tlsconf.Options{
		LocalIP:  s.Peer.LocalIP,
		StartTLS: startTLS,
		Warn:     s.Log.Warnf,
		Err:      s.Log.Errf,
	}
}
