package launch

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"slices"
	"strings"

	"mailproxy/internal/config"
	"mailproxy/internal/successor"
)

// VariableInherit names what a process inherits from its predecessor.
const VariableInherit = "MAILPROXY_INHERIT"

// The names there, beside successor.Handoff, Admin and Metrics.
const (
	Predecessor = "predecessor" // see Inherited

	inheritSocket    = "socket"
	inheritSocketTLS = "socket-tls"
)

// Inherited are the connections of a process that takes another one's place.
type Inherited struct {
	// Handoff is where the old process gives its sessions away.
	Handoff *net.UnixConn
	// Predecessors are where processes hand over the sessions of logins that were under way when they were
	// replaced: the old process, which is the last, and those before it.
	Predecessors []*net.UnixConn
}

// Descriptors are those of the sockets for a successor, which Listen finds there.
func (s *Sockets) Descriptors() (all []successor.Descriptor) {
	for _, l := range s.Listeners {
		name := inheritSocket
		if l.TLS {
			name = inheritSocketTLS
		}
		all = append(all, successor.Descriptor{Name: name, Conn: l.Listener})
	}
	for _, name := range slices.Sorted(maps.Keys(s.Named)) {
		all = append(all, successor.Descriptor{Name: name, Conn: s.Named[name]})
	}
	return all
}

// own is an environment without what it says about file descriptors.
func own(environ []string) []string {
	return slices.DeleteFunc(slices.Clone(environ), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return slices.Contains([]string{VariableInherit, "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"}, name)
	})
}

// isInherited says whether the process that we are the successor of has left us file descriptors.
func isInherited(environment config.Raw) bool { return environment.Get(VariableInherit) != "" }

// takeInherited takes them.
func (s *Sockets) takeInherited(environment config.Raw) error {
	s.Inherited = &Inherited{}
	for _, f := range successor.Inherited(environment.Get(VariableInherit)) {
		err := s.takeAs(f.Name(), f)
		f.Close()
		if err != nil {
			return fmt.Errorf("%s: %w", VariableInherit, err)
		}
	}
	if s.Inherited.Handoff == nil || len(s.Inherited.Predecessors) == 0 || len(s.Listeners) == 0 {
		return errors.New(VariableInherit + ": a connection or the sockets are missing")
	}
	return nil
}

// takeAs takes over what f is.
func (s *Sockets) takeAs(name string, f *os.File) (err error) {
	switch name {
	case inheritSocket, inheritSocketTLS:
		return s.add(f, name == inheritSocketTLS)
	case Admin, Metrics:
		return s.takeNamed(f, name)
	case successor.Handoff:
		s.Inherited.Handoff, err = successor.Conn(f)
		return err
	case Predecessor:
		c, err := successor.Conn(f)
		s.Inherited.Predecessors = append(s.Inherited.Predecessors, c)
		return err
	}
	return fmt.Errorf("%q is not known", name)
}
