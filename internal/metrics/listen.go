package metrics

import (
	"errors"
	"fmt"
	"net"
	"strings"

	"golang.org/x/sys/unix"

	"mailproxy/internal/identity"
	"mailproxy/internal/unixsocket"
)

// ErrPlace says that numbers are not to be served there.
var ErrPlace = errors.New("not a place for metrics")

// Listen listens where Prometheus asks: unix:PATH, a socket of that mode, or HOST:PORT of the loopback
// network. user is the user that a process started by root becomes; nil = it keeps its user. remove, nil for
// an address, removes the socket's file.
func Listen(where string, mode uint32, user *identity.User) (l net.Listener, remove func(), err error) {
	if path, isUnix := strings.CutPrefix(where, "unix:"); isUnix {
		s := unixsocket.Socket{Path: path, Type: unix.SOCK_STREAM, Mode: mode, User: user}
		ul, err := s.Listen()
		if err != nil {
			return nil, nil, err
		}
		return ul.UnixListener, ul.Remove, nil
	}
	host, _, err := net.SplitHostPort(where)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrPlace, err)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, nil, fmt.Errorf("%w: %s is not this machine's own address", ErrPlace, host)
	}
	l, err = net.Listen("tcp", where)
	return l, nil, err
}
