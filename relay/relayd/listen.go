package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// inherited is what relayd serves on, and what it got from its starter.
type inherited struct {
	socket  *listener
	metrics net.Listener
	handoff *net.UnixConn // to the relayd whose sessions this one takes over; nil at a fresh start
	fresh   bool          // the socket was made here: it is removed at the end
}

// inheritVariable names descriptors from 3 on, for a relayd that takes over: "handoff,socket" or "handoff,socket,metrics".
const inheritVariable = "RELAYD_INHERIT"

// inherit takes the sockets that systemd (LISTEN_FDS) or the relayd before us has left open.
func (c *config) inherit(getenv func(string) string) (*inherited, error) {
	in := &inherited{}
	var names []string
	if v := getenv(inheritVariable); v != "" {
		names = strings.Split(v, ",")
	} else if getenv("LISTEN_PID") == strconv.Itoa(os.Getpid()) {
		n, err := strconv.Atoi(getenv("LISTEN_FDS"))
		if err != nil || n < 0 || n > 2 {
			return nil, fmt.Errorf("LISTEN_FDS=%s", getenv("LISTEN_FDS"))
		}
		names = []string{"socket", "metrics"}[:n]
	}
	for i, name := range names {
		f := os.NewFile(uintptr(3+i), name)
		unix.CloseOnExec(3 + i)
		err := in.take(name, f)
		f.Close()
		if err != nil {
			return nil, fmt.Errorf("inherited %s: %w", name, err)
		}
	}
	return in, nil
}

func (in *inherited) take(name string, f *os.File) error {
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
	in.socket, err = listen(ul)
	return err
}

// listen opens what was not inherited.
func (in *inherited) listen(c *config) error {
	if in.socket == nil {
		l, err := listenUnix("unixpacket", c.socket)
		if err != nil {
			return err
		}
		if in.socket, err = listen(l); err != nil {
			return err
		}
		in.fresh = true
	}
	in.socket.SetUnlinkOnClose(false)
	if in.metrics != nil || c.metrics == "" {
		return nil
	}
	path, isUnix := strings.CutPrefix(c.metrics, "unix:")
	if isUnix {
		l, err := listenUnix("unix", path)
		if err != nil {
			return err
		}
		in.metrics = l
		return nil
	}
	host, _, err := net.SplitHostPort(c.metrics)
	if err != nil {
		return fmt.Errorf("-metrics: %w", err)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return fmt.Errorf("-metrics: %s is not this machine's own address", host)
	}
	in.metrics, err = net.Listen("tcp", c.metrics)
	return err
}

// listenUnix replaces a socket that nobody listens on. Everybody may connect: callers are known by their user.
func listenUnix(network, path string) (*net.UnixListener, error) {
	addr := &net.UnixAddr{Net: network, Name: path}
	if c, err := net.DialUnix(network, nil, addr); err == nil {
		c.Close()
		return nil, fmt.Errorf("another relayd serves %s", path)
	}
	if fi, err := os.Lstat(path); err == nil && fi.Mode()&os.ModeSocket != 0 {
		_ = os.Remove(path)
	}
	l, err := net.ListenUnix(network, addr)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o666); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}
