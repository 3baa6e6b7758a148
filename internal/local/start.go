package local

import (
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"mailproxy/internal/identity"
	"mailproxy/internal/launch"
)

// start is execServer in a child process, with stdio as its standard input and output: for a process that has
// to stay, because it does the session's TLS. stdio is the caller's to close. The child's working directory
// and rights are as with execServer: a child whose change of user fails does not exec, which is the error
// here; and StartProcess returns only after the exec, so that what /proc says of the child then is what the
// program runs as. A child that is somebody else is killed. (A set-user-ID program is one.)
func start(stdio, stderr syscall.Conn, l *Server) (*os.Process, error) {
	id, err := l.prepare()
	if err != nil {
		return nil, err
	}
	if err := launch.CloseOnExec(); err != nil {
		return nil, err
	}
	restore, err := defaultSignals()
	if err != nil {
		return nil, err
	}
	defer restore()
	argv := l.command()
	attr := &syscall.ProcAttr{Dir: l.Home, Env: l.Environ}
	if id.change {
		attr.Sys = &syscall.SysProcAttr{
			Credential: &syscall.Credential{Uid: id.UID, Gid: id.GID, Groups: id.Groups},
		}
	}
	pid := 0
	// Not os.StartProcess, which makes the file descriptors it is given blocking.
	err = launch.Control(stdio, func(in int) error {
		if err := unix.SetNonblock(in, l.NonBlocking); err != nil {
			return err
		}
		return launch.Control(stderr, func(log int) (err error) {
			attr.Files = []uintptr{uintptr(in), uintptr(in), uintptr(log)}
			pid, _, err = syscall.StartProcess(argv[0], argv[1:], attr)
			return err
		})
	})
	switch {
	case err == nil:
		return verified(pid, id)
	case unix.Access(l.Path, unix.X_OK) == nil:
		// The child says only that it failed. The program is there, so it was the directory.
		return nil, fmt.Errorf("%w: %s: %w", ErrHome, l.Home, err)
	}
	return nil, fmt.Errorf("%w: %w", ErrProgram, err)
}

// verified returns a child that has become the user, and kills any other.
func verified(pid int, id *principal) (*os.Process, error) {
	process, err := os.FindProcess(pid)
	if err != nil || !id.change {
		return process, err
	}
	if err = identity.VerifyProcess(pid, id.UID, id.GID, id.Groups); err != nil {
		_ = process.Kill()
		_, _ = process.Wait()
		return nil, err
	}
	return process, nil
}
