package inetd

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Become runs another program in this process as the launcher would have run it: standard input and output are the
// connection, in the mode that it is in, and standard error is what it was. args are without the program's name. It returns only when
// that failed; the connection can still be used then, but nothing else should be begun.
func (l *Launch) Become(path string, args, environ []string) error {
	in, out, err := descriptors(l.Conn)
	if err != nil {
		return err
	}
	for target, from := range []syscall.Conn{in, out, out} {
		if target == 2 && !l.taken {
			break
		}
		if err := control(from, func(fd int) error { return unix.Dup3(fd, target, 0) }); err != nil {
			return os.NewSyscallError("dup3", err)
		}
	}
	environ = slices.DeleteFunc(slices.Clone(environ), func(entry string) bool {
		name, _, _ := strings.Cut(entry, "=")
		return name == "LISTEN_PID" || name == "LISTEN_FDS" || name == "LISTEN_FDNAMES"
	})
	err = syscall.Exec(path, append([]string{path}, args...), environ)
	return fmt.Errorf("%w: %s: %w", ErrProgram, path, err)
}
