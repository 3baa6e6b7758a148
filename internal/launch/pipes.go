package launch

import (
	"errors"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// pipes is a connection made of two file descriptors, each of any kind: what tcpserver's TLS cousins, a shell
// pipeline and tests give a program. Deadlines work wherever the kernel can wait for the descriptor (pipes,
// sockets, terminals); regular files never make anybody wait.
type pipes struct {
	in, out *os.File
}

// newPipes duplicates both file descriptors; the caller keeps its own. Their blocking mode changes, as it
// belongs to the open file and not to the descriptor.
func newPipes(in, out *os.File) (*pipes, error) {
	r, err := duplicate(in)
	if err != nil {
		return nil, err
	}
	w, err := duplicate(out)
	if err != nil {
		r.Close()
		return nil, err
	}
	return &pipes{in: r, out: w}, nil
}

func duplicate(f *os.File) (dup *os.File, err error) {
	err = Control(f, func(fd int) error {
		n, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, firstFD)
		if err != nil {
			return os.NewSyscallError("fcntl", err)
		}
		if err := unix.SetNonblock(n, true); err != nil {
			unix.Close(n)
			return os.NewSyscallError("fcntl", err)
		}
		dup = os.NewFile(uintptr(n), f.Name())
		return nil
	})
	return dup, err
}

func (p *pipes) Read(b []byte) (int, error)  { return p.in.Read(b) }
func (p *pipes) Write(b []byte) (int, error) { return p.out.Write(b) }

// Close closes both directions.
func (p *pipes) Close() error { return errors.Join(p.in.Close(), ignoreClosed(p.out.Close())) }

// CloseWrite closes the outgoing file descriptor. On a socket it ends the direction for every holder of the
// socket.
func (p *pipes) CloseWrite() error {
	_ = Control(p.out, func(fd int) error { return unix.Shutdown(fd, unix.SHUT_WR) })
	return p.out.Close()
}

func (p *pipes) SetDeadline(t time.Time) error {
	return errors.Join(p.SetReadDeadline(t), p.SetWriteDeadline(t))
}
func (p *pipes) SetReadDeadline(t time.Time) error { return ignoreNoDeadline(p.in.SetReadDeadline(t)) }
func (p *pipes) SetWriteDeadline(t time.Time) error {
	return ignoreNoDeadline(p.out.SetWriteDeadline(t))
}

func (p *pipes) LocalAddr() net.Addr  { return pipeAddr(p.out.Name()) }
func (p *pipes) RemoteAddr() net.Addr { return pipeAddr(p.in.Name()) }

// pipeAddr is the address of something that has none.
type pipeAddr string

func (pipeAddr) Network() string  { return "pipe" }
func (a pipeAddr) String() string { return string(a) }

func ignoreNoDeadline(err error) error {
	if errors.Is(err, os.ErrNoDeadline) {
		return nil
	}
	return err
}

func ignoreClosed(err error) error {
	if errors.Is(err, os.ErrClosed) {
		return nil
	}
	return err
}
