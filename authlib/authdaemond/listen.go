package main

import (
	"fmt"
	"net"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"mailproxy/authlib"
	"mailproxy/internal/identity"
	"mailproxy/internal/loglimit"
	"mailproxy/internal/metrics"
	"mailproxy/internal/peercred"
	"mailproxy/internal/systemd"
	"mailproxy/internal/unixsocket"
)

// sockets are what the daemon serves on.
type sockets struct {
	// clients are sockets for one request a connection, persistent those for more.
	clients, persistent []*net.UnixListener
	where               string       // for the log
	scraper             net.Listener // nil = no metrics
	remove              []func()
}

// close removes the files of sockets that were made here.
func (s *sockets) close() {
	for _, remove := range s.remove {
		remove()
	}
}

// courier tells that the daemon is asked where Courier's programs ask.
func (s *sockets) courier() bool {
	for _, l := range s.clients {
		if authlib.IsCourierSocket(l.Addr().String()) {
			return true
		}
	}
	return authlib.IsCourierSocket(s.where)
}

// inherit takes the sockets that systemd has opened.
func (s *sockets) inherit() error {
	opened := systemd.Sockets(unix.SOCK_STREAM)
	for kind, files := range opened {
		for _, f := range files {
			l, err := net.FileListener(f)
			f.Close()
			if err != nil {
				return fmt.Errorf("socket %s of the service manager: %w", f.Name(), err)
			}
			u, isUnix := l.(*net.UnixListener)
			switch {
			case kind == systemd.Metrics:
				s.scraper = l
			case !isUnix:
				return fmt.Errorf("socket %s of the service manager is not a unix socket", f.Name())
			default:
				u.SetUnlinkOnClose(false)
				s.add(u, u.Addr().String())
			}
		}
	}
	return nil
}

// add sorts a socket by its path.
func (s *sockets) add(l *net.UnixListener, path string) {
	if authlib.IsPersistent(path) {
		s.persistent = append(s.persistent, l)
		return
	}
	s.clients, s.where = append(s.clients, l), path
}

// listen makes the socket <directory>/socket, and the one for persistent connections beside it, where systemd
// has made none. Everybody may connect who may enter the directory: a directory that is made here lets in
// root and the service's group; -allow says who is answered.
func (s *sockets) listen(directory string, as *identity.User) error {
	if len(s.clients) > 0 || len(s.persistent) > 0 {
		return nil
	}
	first := filepath.Join(directory, "socket")
	for _, path := range []string{first, authlib.PersistentSocket(first)} {
		socket := unixsocket.Socket{Path: path, Type: unix.SOCK_STREAM, Mode: 0o777,
			User: as, MakeDir: true}
		l, err := socket.Listen()
		if err != nil {
			s.close()
			return err
		}
		s.remove = append(s.remove, l.Remove)
		s.add(l.UnixListener, path)
	}
	return nil
}

// listenMetrics listens where AUTH_METRICS says: the path of a unix socket, or a loopback address and port.
// The numbers tell when who logs in: nobody else's business.
func (s *sockets) listenMetrics(where string, as *identity.User) error {
	if where == "" || s.scraper != nil {
		return nil
	}
	if strings.HasPrefix(where, "/") {
		where = "unix:" + where
	}
	l, remove, err := metrics.Listen(where, 0o660, as)
	if err != nil {
		return fmt.Errorf("AUTH_METRICS: %w", err)
	}
	s.scraper = l
	if remove != nil {
		s.remove = append(s.remove, remove)
	}
	return nil
}

// allowed returns who is answered: root, the daemon's own user, and those of -allow; where Courier's programs
// ask and -allow says nothing, Courier's group, in which its MTA and mail servers are. To be called when root
// is given up.
func (s *sockets) allowed(list string) (*peercred.Set, error) {
	names := peercred.Names(list)
	if list == "" && s.courier() {
		if set, err := peercred.NewSet(courierGroup); err == nil {
			return set, nil
		} // without Courier nobody is in its group
	}
	set, err := peercred.NewSet(names...)
	if err != nil {
		return nil, fmt.Errorf("-allow: %w", err)
	}
	return set, nil
}

// courierGroup is who uses Courier's authdaemond.
const courierGroup = "@courier"

// refuse logs a client that may not ask.
func (s *server) refuse(err error) {
	s.metrics.denied.Inc()
	s.complaints.Count(refusalsEvery, func(n int) {
		s.log.Errf("a client is not answered, see -allow: %v%s", err, loglimit.More(n))
	})
}

// admit tells whether the client of a connection may ask.
func (s *server) admit(fd int) bool {
	err := s.allowed.CheckDescriptor(fd)
	if err != nil {
		s.refuse(err)
	}
	return err == nil
}
