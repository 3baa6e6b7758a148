package frontend

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"

	"golang.org/x/sys/unix"

	"mailproxy/internal/inetd"
	"mailproxy/internal/tlsfiles"
	"mailproxy/relay"
)

// Encrypter makes TLS connections in this process; package fronttls has the one in use. Both methods take at most until the
// deadline of ctx and leave conn's deadlines off. Where they fail conn is still the caller's.
type Encrypter interface {
	// Accept makes the handshake with a client. variables are what couriertls would put into the environment.
	Accept(ctx context.Context, conn inetd.Conn, o tlsfiles.Options) (encrypted inetd.Conn, variables map[string]string, err error)
	// Connect makes the handshake with the mailhost of that name.
	Connect(ctx context.Context, conn inetd.Conn, o tlsfiles.Options, host string) (encrypted inetd.Conn, err error)
}

// errNoTLS says that nobody is there to make a handshake.
var errNoTLS = errors.New("this program has no TLS built in, and neither relayd nor the program that has it can be used")

// acceptTLS makes the handshake with the client, here or by way of another program that this process becomes: then it does
// not return.
func (s *Session) acceptTLS(ctx context.Context, startTLS bool, soFar Resumption) (inetd.Conn, map[string]string, error) {
	conn, err := s.encryptByRelayd(ctx, s.Conn, "", startTLS)
	switch {
	case err == nil:
		return conn, conn.carrier.Variables, nil
	case !errors.Is(err, relay.ErrUnavailable):
		return nil, nil, err
	case s.Encrypter == nil && startTLS:
		return nil, nil, s.becomeForTLS(&soFar)
	case s.Encrypter == nil:
		return nil, nil, s.becomeForTLS(nil)
	}
	return s.Encrypter.Accept(ctx, s.Conn, s.tlsOptions(startTLS))
}

// connectTLS makes the handshake with a mailhost.
func (s *Session) connectTLS(ctx context.Context, conn inetd.Conn, host string) (inetd.Conn, error) {
	encrypted, err := s.encryptByRelayd(ctx, conn, host, false)
	switch {
	case err == nil:
		return encrypted, nil
	case !errors.Is(err, relay.ErrUnavailable):
		return nil, err
	case s.Encrypter == nil:
		return nil, fmt.Errorf("%w; RELAY_TLS=NO has this program become the other one in time", err)
	}
	return s.Encrypter.Connect(ctx, conn, s.tlsOptions(false), host)
}

// lacksTLS says that the connections to mailhosts are to be encrypted, and that nobody is there to do it for this program. When
// such a connection has been made it is too late to become the other program, so this one is certain: a relayd that was killed leaves its
// socket's file behind.
func (s *Session) lacksTLS() bool {
	return s.Encrypter == nil && s.Config.TLS != proxyTLSOff && !(s.relaydEncrypts() && s.relaydListens())
}

// relaydListens asks for no more than a connection.
func (s *Session) relaydListens() bool {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	return unix.Connect(fd, &unix.SockaddrUnix{Name: s.Config.RelaySocket}) == nil
}

// relaydEncrypts says whether it is worth asking relayd for a handshake.
func (s *Session) relaydEncrypts() bool { return s.Config.RelayTLS && s.relaydThere() }

// encryptByRelayd has relayd make a handshake on conn, with a client or with the mailhost named, and carry TLS from then on.
// conn is closed then. Errors: relay.ErrUnavailable when nothing has been read from conn or written to it; any other is final.
func (s *Session) encryptByRelayd(ctx context.Context, conn inetd.Conn, host string, startTLS bool) (*carried, error) {
	socket, ok := conn.(syscall.Conn)
	if !ok || !s.relaydEncrypts() {
		return nil, relay.ErrUnavailable
	}
	near, far, err := inetd.Pair(s.long)
	if err != nil {
		return nil, errors.Join(relay.ErrUnavailable, err)
	}
	defer far.Close()
	now, end := s.System.Now(), s.Started.Add(s.Config.LoginTimeout)
	handshake, _ := ctx.Deadline()
	files := s.tlsOptions(startTLS)
	r := relay.EncryptRequest{
		Conn: socket, Host: host, StartTLS: startTLS, Settings: s.Settings, Open: files.Open,
		Handshake: handshake.Sub(now), Login: end.Sub(now),
		Protocol: s.Protocol.Name, RemoteIP: s.Peer.RemoteIP, RemotePort: s.Peer.RemotePort, Warn: s.Log.Warnf,
	}
	if host != "" {
		r.Open = files.OpenMailhost
	}
	c := &carried{Socket: near, local: conn.LocalAddr(), remote: conn.RemoteAddr()}
	raw, _ := far.SyscallConn()
	cerr := raw.Control(func(fd uintptr) {
		r.Far = int(fd)
		c.carrier, err = relay.Encrypt(ctx, s.Config.RelaySocket, r)
	})
	if err = errors.Join(cerr, err); err != nil {
		near.Close()
		if errors.Is(err, relay.ErrUnavailable) {
			s.logRelayd(err)
		}
		return nil, err
	}
	conn.Close()
	return c, nil
}

// carried is a connection whose TLS relayd carries, as the near end of the socket pair shows it.
type carried struct {
	*inetd.Socket
	carrier       *relay.Encrypted
	local, remote net.Addr // of the connection itself
}

// Encrypted is how package relay knows the connection.
func (c *carried) Encrypted() *relay.Encrypted { return c.carrier }

// LocalAddr implements net.Conn.
func (c *carried) LocalAddr() net.Addr { return c.local }

// RemoteAddr implements net.Conn.
func (c *carried) RemoteAddr() net.Addr { return c.remote }

// Close ends the connection, unless it has been passed on.
func (c *carried) Close() error { return errors.Join(c.Socket.Close(), c.carrier.Close()) }

// goOn tells relayd that the session goes on over our ends of the connections that it encrypts. Errors: see relay.Encrypted.Continue.
func (s *Session) goOn(ctx context.Context, i relay.Info, conns ...inetd.Conn) error {
	for _, conn := range conns {
		if c, ok := conn.(*carried); ok {
			if err := c.carrier.Continue(ctx, i, s.relayOptions()); err != nil {
				return err
			}
		}
	}
	return nil
}

// doesTLS says whether this process itself encrypts the connection.
func doesTLS(conn inetd.Conn) bool {
	_, ok := conn.(interface{ NetConn() net.Conn })
	return ok
}
