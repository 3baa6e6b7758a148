package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"mailproxy/internal/maillog"
	"mailproxy/internal/metrics"
	"mailproxy/internal/systemd"
	"mailproxy/internal/unixsocket"
)

// inherited is what relayd serves on, and what it got from its starter.
type inherited struct {
	socket  *net.UnixListener
	metrics net.Listener
	handoff *net.UnixConn // to the relayd whose sessions this one takes over; nil at a fresh start
	remove  []func()      // the files of sockets that were made here
}

// inheritVariable names file descriptors from 3 on, for a relayd that takes over: "handoff,socket" or
// "handoff,socket,metrics".
const inheritVariable = "RELAYD_INHERIT"

// inherit takes the sockets that systemd or the relayd before us has left open.
func (c *config) inherit(getenv func(string) string) (*inherited, error) {
	in := &inherited{}
	names := strings.FieldsFunc(getenv(inheritVariable), func(r rune) bool { return r == ',' })
	for i, name := range names {
		f := os.NewFile(uintptr(3+i), name)
		unix.CloseOnExec(3 + i)
		if err := in.takeOver(name, f); err != nil {
			return nil, err
		}
	}
	if len(names) > 0 {
		return in, nil
	}
	for kind, files := range systemd.Sockets(unix.SOCK_SEQPACKET) {
		for _, f := range files {
			if err := in.takeOver(string(kind), f); err != nil {
				return nil, err
			}
		}
	}
	return in, nil
}

// takeOver takes over what f is, and closes it.
func (in *inherited) takeOver(name string, f *os.File) error {
	err := in.takeOverAs(name, f)
	if err != nil {
		err = fmt.Errorf("inherited %s: %w", f.Name(), err)
	}
	f.Close()
	return err
}

func (in *inherited) takeOverAs(name string, f *os.File) error {
	if name == "handoff" {
		c, err := net.FileConn(f)
		if err != nil {
			return err
		}
		var ok bool
		if in.handoff, ok = c.(*net.UnixConn); !ok {
			return errors.New("not a unix socket")
		}
		return nil
	}
	l, err := net.FileListener(f)
	if err != nil {
		return err
	}
	if name == "metrics" {
		in.metrics = l
		return nil
	}
	ul, ok := l.(*net.UnixListener)
	if !ok || l.Addr().Network() != "unixpacket" {
		return errors.New("not a unix socket of type SOCK_SEQPACKET")
	}
	in.socket = ul
	return nil
}

// listen opens what was not inherited.
func (in *inherited) listen(c *config, log *maillog.Log) error {
	if in.socket == nil {
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
		in.socket = l.UnixListener
		in.remove = append(in.remove, l.Remove)
	}
	in.socket.SetUnlinkOnClose(false)
	if in.metrics != nil || c.metrics == "" {
		return nil
	}
	user, err := c.socketUser()
	if err != nil {
		return err
	}
	l, remove, err := metrics.Listen(c.metrics, user)
	switch {
	case err != nil && strings.HasPrefix(c.metrics, "unix:"): // sessions matter more
		log.Errf("relayd: no metrics: %v", err)
	case err != nil:
		return fmt.Errorf("-metrics: %w", err)
	default:
		in.metrics = l
		if remove != nil {
			in.remove = append(in.remove, remove)
		}
	}
	return nil
}

// socketUser is who this process becomes; nil: it stays what it is.
func (c *config) socketUser() (*unixsocket.User, error) {
	if c.user == "" || os.Getuid() != 0 {
		return nil, nil
	}
	id, err := lookup(c.user)
	if err != nil {
		return nil, err
	}
	return &unixsocket.User{UID: int(id.UID), GID: int(id.GID)}, nil
}

// removeFiles removes the files of sockets that were made here.
func (in *inherited) removeFiles() {
	for _, remove := range in.remove {
		remove()
	}
}
