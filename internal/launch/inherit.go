package launch

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"

	"mailproxy/internal/config"
	"mailproxy/internal/successor"
)

// variableInherit names the file descriptors, from 3 on, that a process has left to its successor.
const variableInherit = "MAILPROXY_INHERIT"

// The names there.
const (
	inheritHandoff     = "handoff"
	inheritPredecessor = "predecessor"
	inheritSocket      = "socket"
	inheritSocketTLS   = "socket-tls"
)

// Inherited are the connections of a process that takes another one's place.
type Inherited struct {
	// Handoff is where the old process gives its sessions away.
	Handoff *net.UnixConn
	// Predecessors are where processes hand over the sessions of logins that were under way when they were
	// replaced: the old process, which is the last, and those before it.
	Predecessors []*net.UnixConn
}

// ForSuccessor returns what a successor of a process with this environment is to be started with: the
// environment, and the connections that are its file descriptors from 3 on, as Listen finds them there.
func (s *Sockets) ForSuccessor(environ []string, in *Inherited) ([]string, []syscall.Conn, error) {
	names, conns := []string{inheritHandoff}, []syscall.Conn{in.Handoff}
	for _, c := range in.Predecessors {
		names, conns = append(names, inheritPredecessor), append(conns, c)
	}
	for _, l := range s.Listeners {
		c, ok := l.Listener.(syscall.Conn)
		if !ok {
			return nil, nil, fmt.Errorf("%s: a %T cannot be left to another process", l.Addr(), l.Listener)
		}
		name := inheritSocket
		if l.TLS {
			name = inheritSocketTLS
		}
		names, conns = append(names, name), append(conns, c)
	}
	for _, name := range slices.Sorted(maps.Keys(s.Named)) {
		c, ok := s.Named[name].(syscall.Conn)
		if !ok {
			return nil, nil, fmt.Errorf("%s: a %T cannot be left to another process", name, s.Named[name])
		}
		names, conns = append(names, name), append(conns, c)
	}
	return append(own(environ), variableInherit+"="+strings.Join(names, ",")), conns, nil
}

// own is an environment without what it says about file descriptors.
func own(environ []string) []string {
	return slices.DeleteFunc(slices.Clone(environ), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return slices.Contains([]string{variableInherit, "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"}, name)
	})
}

// isInherited says whether the process that we are the successor of has left us file descriptors.
func isInherited(environment config.Raw) bool { return environment.Get(variableInherit) != "" }

// takeInherited takes them.
func (s *Sockets) takeInherited(environment config.Raw) error {
	s.Inherited = &Inherited{}
	for i, name := range strings.Split(environment.Get(variableInherit), ",") {
		f := os.NewFile(uintptr(successor.FirstDescriptor+i), "inherited "+name)
		if err := s.takeAs(name, f); err != nil {
			return err
		}
	}
	if s.Inherited.Handoff == nil || len(s.Inherited.Predecessors) == 0 || len(s.Listeners) == 0 {
		return errors.New(variableInherit + ": a connection or the sockets are missing")
	}
	return nil
}

// takeAs takes over what f is, and closes it.
func (s *Sockets) takeAs(name string, f *os.File) error {
	switch name {
	case inheritSocket, inheritSocketTLS:
		defer f.Close()
		return s.add(f, name == inheritSocketTLS)
	case Admin, Metrics:
		defer f.Close()
		return s.takeNamed(f, name)
	case inheritHandoff, inheritPredecessor:
		c, err := successor.Conn(f)
		switch {
		case err != nil:
			return err
		case name == inheritHandoff:
			s.Inherited.Handoff = c
		default:
			s.Inherited.Predecessors = append(s.Inherited.Predecessors, c)
		}
		return nil
	}
	f.Close()
	return fmt.Errorf("%s: %q is not known", variableInherit, name)
}
