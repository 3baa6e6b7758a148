package local

import (
	"fmt"
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"mailproxy/internal/identity"
	"mailproxy/internal/launch"
)

// execServer becomes the account's user and then the program, with conn as its standard input and output,
// standard error as it is, and no other file descriptor. It returns only when that failed. After ErrChanged
// the process may be another user already, and conn may be blocking, so that its deadlines mean nothing: it
// has to end.
func execServer(conn launch.Conn, l *Server) error {
	id, err := l.prepare()
	if err != nil {
		return err
	}
	return &changedError{execAs(conn, l, id)}
}

// changedError is ErrChanged with its cause and the cause's text.
type changedError struct{ error }

func (e *changedError) Unwrap() []error { return []error{ErrChanged, e.error} }

// execAs is the part of execServer from which there is no way back.
func execAs(conn launch.Conn, l *Server, id *principal) error {
	// Rights and signal mask are those of the thread that execs. (So is the timer slack, which every thread
	// has from the launcher.)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if id.change {
		if err := identity.BecomeForExec(id.UID, id.GID, id.Groups); err != nil {
			return err
		}
	}
	if err := os.Chdir(l.Home); err != nil {
		return fmt.Errorf("%w: %w", ErrHome, err)
	}
	if err := standardStreams(conn, l.NonBlocking); err != nil {
		return err
	}
	if err := launch.CloseOnExec(); err != nil {
		return err
	}
	if _, err := defaultSignals(); err != nil {
		return err
	}
	var none unix.Sigset_t
	if err := unix.PthreadSigmask(unix.SIG_SETMASK, &none, nil); err != nil {
		return os.NewSyscallError("rt_sigprocmask", err)
	}
	argv := l.command()
	// syscall.Exec also restores the soft NOFILE limit, which the Go runtime has raised.
	err := syscall.Exec(argv[0], argv[1:], l.Environ)
	return fmt.Errorf("%w: %w", ErrProgram, err)
}

// standardStreams makes conn standard input and output, in the mode asked for.
func standardStreams(conn launch.Conn, nonBlocking bool) error {
	in, out, err := launch.Descriptors(conn)
	if err != nil {
		return err
	}
	for target, from := range []syscall.Conn{in, out} {
		err := launch.Control(from, func(fd int) error { return unix.Dup3(fd, target, 0) })
		if err != nil {
			return os.NewSyscallError("dup3", err)
		}
		if err := unix.SetNonblock(target, nonBlocking); err != nil {
			return os.NewSyscallError("fcntl", err)
		}
	}
	return nil
}
