package launch

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"mailproxy/internal/config"
	"mailproxy/internal/maillog"
)

// Sockets are the listening sockets of a process that serves every connection to them.
type Sockets struct {
	Listeners []*Listener
	// Named are the sockets that clients have nothing to do with, by name: Admin, Metrics.
	Named map[string]net.Listener
	// Wait says that an inetd has handed over its own socket and waits for this process to end (inetd's and
	// xinetd's "wait").
	Wait bool
	// Inherited is what this process has inherited from its predecessor; nil if it has none.
	Inherited *Inherited
	// Environ is the environment without what it says about file descriptors.
	Environ []string
	Log     *maillog.Log
}

// Listener is one of them.
type Listener struct {
	net.Listener
	// TLS says that its connections are encrypted from the first byte, whatever the settings say.
	TLS bool
}

// nameTLS are the names (FileDescriptorName=) of systemd's sockets whose connections begin with TLS.
var nameTLS = []string{"imaps", "pop3s", "tls"}

// prefixTLS stands in front of an address of -listen whose connections begin with TLS.
const prefixTLS = "tls:"

// Listen returns the listening sockets that a program was started with: those of systemd (Accept=no), that of
// an inetd (wait), and those at addrs, which are what -listen names: "IP:PORT", "PORT" or "tls:..." of
// either. The successor of a process has that process's sockets and no others. Listen returns nil when there
// are none: the launcher has passed a connection, see Open. With an error the Sockets have the Log.
func Listen(ctx context.Context, req Request, addrs []string) (*Sockets, error) {
	environment := config.Environment(req.Environ)
	inherited := isInherited(environment)
	passed := !inherited && len(req.Passed) > 0 && isListening(req.Passed[0])
	wait := !inherited && !passed && len(addrs) == 0 && isListening(req.Stdin)
	if !inherited && !passed && !wait && len(addrs) == 0 {
		return nil, nil
	}
	s := &Sockets{Wait: wait, Environ: own(req.Environ), Log: openLog(req, environment, wait && isTaken(req))}
	var err error
	switch {
	case inherited:
		err, addrs = s.takeInherited(environment), nil
	case passed:
		err = s.takePassed(req.Passed)
	case wait:
		if err = s.add(req.Stdin, false); err == nil {
			err = toDevNull(req.Stdin, req.Stdout)
		}
	}
	for _, addr := range addrs {
		err = errors.Join(err, s.open(ctx, addr))
	}
	if err == nil {
		err = CloseOnExec()
	}
	if err != nil {
		s.Close()
	}
	return s, err
}

// Close stops listening.
func (s *Sockets) Close() {
	for _, l := range s.Listeners {
		l.Close()
	}
	for _, l := range s.Named {
		l.Close()
	}
}

// takePassed takes systemd's sockets, and closes their files.
func (s *Sockets) takePassed(files []*os.File) error {
	for _, f := range files {
		defer f.Close() // after an error those that follow, too
		var err error
		if name := f.Name(); isNamed(name) {
			err = s.takeNamed(f, name)
		} else {
			err = s.add(f, slices.Contains(nameTLS, name))
		}
		if err != nil {
			return fmt.Errorf("systemd's socket %w", err)
		}
	}
	if len(s.Listeners) == 0 {
		return errors.New("the launcher has passed no socket for clients")
	}
	return nil
}

// add makes a Listener of a copy of a file.
func (s *Sockets) add(f *os.File, tls bool) error {
	l, err := net.FileListener(f)
	if err != nil {
		return fmt.Errorf("%s: %w", f.Name(), err)
	}
	s.Listeners = append(s.Listeners, &Listener{l, tls})
	return nil
}

// open listens at an address.
func (s *Sockets) open(ctx context.Context, addr string) error {
	where, tls := strings.CutPrefix(addr, prefixTLS)
	if _, err := strconv.ParseUint(where, 10, 16); err == nil {
		where = ":" + where
	}
	// Clients that are gone are found by PROXY_KEEPALIVE once they have a session, and have LOGIN_TIMEOUT
	// before.
	config := net.ListenConfig{KeepAlive: -1}
	l, err := config.Listen(ctx, "tcp", where)
	if err != nil {
		return fmt.Errorf("-listen %s: %w", addr, err)
	}
	s.Listeners = append(s.Listeners, &Listener{l, tls})
	return nil
}

// isListening says whether a file is a socket that listens.
func isListening(f *os.File) bool {
	listening, err := unix.GetsockoptInt(int(f.Fd()), unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	return err == nil && listening != 0
}
