package launch

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"mailproxy/internal/metrics"
	"mailproxy/internal/unixsocket"
)

// The names (FileDescriptorName=) of sockets that clients have nothing to do with.
const (
	// Admin is where administrators ask, a unix socket of type SOCK_SEQPACKET.
	Admin = "admin"
	// Metrics is where Prometheus asks.
	Metrics = "metrics"
)

func isNamed(name string) bool { return slices.Contains([]string{Admin, Metrics}, name) }

// takeNamed makes a listener of a copy of a file.
func (s *Sockets) takeNamed(f *os.File, name string) error {
	var l net.Listener
	var err error
	if name == Admin {
		l, err = unixsocket.Packets(f)
	} else {
		l, err = net.FileListener(f)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", f.Name(), err)
	}
	s.addNamed(name, l)
	return nil
}

func (s *Sockets) addNamed(name string, l net.Listener) {
	if s.Named == nil {
		s.Named = map[string]net.Listener{}
	}
	if old := s.Named[name]; old != nil {
		old.Close()
	}
	s.Named[name] = l
}

// OpenNamed opens the sockets for administrators and for Prometheus where the launcher has passed none: admin
// is a path, where is unix:PATH or HOST:PORT; empty = none. It is called while the process still has the
// rights that it was started with. Clients matter more: a unix socket that cannot be made is a line in the
// log. The error is for a place where there must be none.
func (s *Sockets) OpenNamed(admin, where string) error {
	if admin != "" && s.Named[Admin] == nil {
		l, err := (&unixsocket.Socket{Path: admin, Type: unix.SOCK_SEQPACKET, Mode: 0o666}).Listen()
		if err != nil {
			s.Log.Errf("no admin socket: %v", err)
		} else {
			s.addNamed(Admin, l.UnixListener)
		}
	}
	if where == "" || s.Named[Metrics] != nil {
		return nil
	}
	l, _, err := metrics.Listen(where, 0o666, nil)
	switch {
	case errors.Is(err, metrics.ErrPlace):
		return fmt.Errorf("-metrics: %w", err)
	case err != nil:
		s.Log.Errf("no metrics: %v", err)
	default:
		s.addNamed(Metrics, l)
	}
	return nil
}
