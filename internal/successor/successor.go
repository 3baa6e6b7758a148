// Package successor starts the program that replaces a running one: the same process in the eyes of systemd,
// with the connections and listening sockets that it is given as file descriptors. What the two processes
// send each other is not defined here.
package successor

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"mailproxy/internal/systemd"
)

// Program is what is to be started.
type Program struct {
	Path string
	// Args include the program's name.
	Args, Environ []string
	// Inherit are what it inherits besides the three standard file descriptors, as it finds in the variable of
	// the environment that Variable names, see Inherited.
	Inherit  []Descriptor
	Variable string
}

// start starts it, see Reserve.Start. File descriptors are passed by number: os/exec would make them
// blocking, which both processes would share.
func (p *Program) start() (*os.Process, error) {
	var names []string
	var conns []syscall.Conn
	for _, d := range p.Inherit {
		c, ok := d.Conn.(syscall.Conn)
		if !ok {
			return nil, fmt.Errorf("%s: a %T cannot be left to another process", d.Name, d.Conn)
		}
		names, conns = append(names, d.Name), append(conns, c)
	}
	environ := append(slices.Clone(p.Environ), p.Variable+"="+strings.Join(names, ","))
	sys := &syscall.SysProcAttr{}
	if systemd.Watched(environ) {
		// systemd warns of a main process that is not its own child.
		sys.Cloneflags = unix.CLONE_PARENT
	}
	pid, err := withDescriptors(conns, []uintptr{0, 1, 2}, func(fds []uintptr) (int, error) {
		return syscall.ForkExec(p.Path, p.Args, &syscall.ProcAttr{Env: environ, Files: fds, Sys: sys})
	})
	if err != nil {
		return nil, &os.PathError{Op: "start", Path: p.Path, Err: err}
	}
	return os.FindProcess(pid)
}

// withDescriptors calls f with the file descriptors of conns after those in fds.
func withDescriptors(conns []syscall.Conn, fds []uintptr, f func([]uintptr) (int, error)) (n int, err error) {
	if len(conns) == 0 {
		return f(fds)
	}
	raw, err := conns[0].SyscallConn()
	if err != nil {
		return 0, err
	}
	cerr := raw.Control(func(fd uintptr) { n, err = withDescriptors(conns[1:], append(fds, fd), f) })
	return n, errors.Join(cerr, err)
}

// Pair returns two connected SOCK_SEQPACKET connections.
func Pair() (a, b *net.UnixConn, err error) { return pair(unix.SOCK_SEQPACKET) }

// StreamPair is Pair for SOCK_STREAM.
func StreamPair() (a, b *net.UnixConn, err error) { return pair(unix.SOCK_STREAM) }

func pair(kind int) (a, b *net.UnixConn, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	a, err = Conn(os.NewFile(uintptr(fds[0]), "socketpair"))
	b, berr := Conn(os.NewFile(uintptr(fds[1]), "socketpair"))
	if err = errors.Join(err, berr); err != nil {
		for _, c := range []*net.UnixConn{a, b} {
			if c != nil {
				c.Close()
			}
		}
		return nil, nil, err
	}
	return a, b, nil
}
