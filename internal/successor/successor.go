// Package successor starts the program that replaces a running one: the same process in the eyes of systemd,
// with the connections and listening sockets that it is given as file descriptors. What the two say to each
// other is none of its business.
package successor

import (
	"errors"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"mailproxy/internal/systemd"
)

// FirstDescriptor is the number of the first of Program.Conns in the new process.
const FirstDescriptor = 3

// Program is what is to be started.
type Program struct {
	Path string
	// Args include the program's name.
	Args, Environ []string
	// Conns are passed as the file descriptors from FirstDescriptor on, beside the three standard ones of this
	// process.
	Conns []syscall.Conn
}

// start starts it, see Reserve.Start. File descriptors are passed by number: os/exec would make them
// blocking, which both processes would share.
func (p *Program) start() (*os.Process, error) {
	sys := &syscall.SysProcAttr{}
	if systemd.Watched(p.Environ) {
		// systemd warns of a main process that is not its own child.
		sys.Cloneflags = unix.CLONE_PARENT
	}
	pid, err := withDescriptors(p.Conns, []uintptr{0, 1, 2}, func(fds []uintptr) (int, error) {
		return syscall.ForkExec(p.Path, p.Args, &syscall.ProcAttr{Env: p.Environ, Files: fds, Sys: sys})
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
func Pair() (a, b *net.UnixConn, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
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

// Conn makes a connection of a file, a unix socket, which it closes.
func Conn(f *os.File) (*net.UnixConn, error) {
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	u, ok := c.(*net.UnixConn)
	if !ok {
		c.Close()
		return nil, errors.New(f.Name() + " is not a unix socket")
	}
	return u, nil
}
