package main

import (
	"fmt"
	"net"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"mailproxy/internal/identity"
	"mailproxy/internal/maillog"
	"mailproxy/internal/metrics"
	"mailproxy/internal/successor"
	"mailproxy/internal/systemd"
	"mailproxy/internal/unixsocket"
)

// sockets are what relayd serves on.
type sockets struct {
	socket  *net.UnixListener
	metrics net.Listener
	handoff *net.UnixConn // to the relayd whose sessions this one takes over; nil at a fresh start
	remove  []func()      // the files of sockets that were made here
}

// inherit takes the sockets that systemd or the relayd before us has left open.
func inherit(getenv func(string) string) (*sockets, error) {
	s := &sockets{}
	files := successor.Inherited(getenv(inheritVariable))
	for _, f := range files {
		if err := s.take(f.Name(), f); err != nil {
			return nil, err
		}
	}
	if len(files) > 0 {
		return s, nil
	}
	for kind, files := range systemd.Sockets(unix.SOCK_SEQPACKET) {
		for _, f := range files {
			if err := s.take(string(kind), f); err != nil {
				return nil, err
			}
		}
	}
	return s, nil
}

// take takes what f is, and closes it.
func (s *sockets) take(name string, f *os.File) (err error) {
	switch name {
	case successor.Handoff:
		s.handoff, err = successor.Conn(f)
	case "metrics":
		s.metrics, err = net.FileListener(f)
	default:
		s.socket, err = unixsocket.Packets(f)
	}
	f.Close()
	if err != nil {
		return fmt.Errorf("inherited %s: %w", f.Name(), err)
	}
	return nil
}

// listen opens what was not inherited.
func (s *sockets) listen(c *config, log *maillog.Log) error {
	if s.socket == nil {
		// Everybody may connect: callers are known by their user.
		user, err := c.socketUser()
		if err != nil {
			return err
		}
		socket := unixsocket.Socket{Path: c.socket, Type: unix.SOCK_SEQPACKET, Mode: 0o666, User: user}
		l, err := socket.Listen()
		if err != nil {
			return err
		}
		s.socket = l.UnixListener
		s.remove = append(s.remove, l.Remove)
	}
	s.socket.SetUnlinkOnClose(false)
	if s.metrics != nil || c.metrics == "" {
		return nil
	}
	user, err := c.socketUser()
	if err != nil {
		return err
	}
	l, remove, err := metrics.Listen(c.metrics, 0o666, user)
	switch {
	case err != nil && strings.HasPrefix(c.metrics, "unix:"): // sessions matter more
		log.Errf("relayd: no metrics: %v", err)
	case err != nil:
		return fmt.Errorf("-metrics: %w", err)
	default:
		s.metrics = l
		if remove != nil {
			s.remove = append(s.remove, remove)
		}
	}
	return nil
}

// socketUser is the user that this process becomes; nil = it keeps its user.
func (c *config) socketUser() (*identity.User, error) {
	if c.user == "" || os.Getuid() != 0 {
		return nil, nil
	}
	return lookup(c.user)
}

// removeFiles removes the files of sockets that were made here.
func (s *sockets) removeFiles() {
	for _, remove := range s.remove {
		remove()
	}
}

// close stops listening.
func (s *sockets) close() {
	s.socket.Close()
	if s.metrics != nil {
		s.metrics.Close()
	}
}
