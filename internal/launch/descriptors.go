package launch

import (
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// firstFD is the first file descriptor that is not a standard one.
const firstFD = 3

// Descriptors returns what conn reads from and writes to.
func Descriptors(conn Conn) (in, out syscall.Conn, err error) {
	switch c := conn.(type) {
	case *pipes:
		return c.in, c.out, nil
	case syscall.Conn:
		return c, c, nil
	}
	return nil, nil, fmt.Errorf("a %T cannot be handed to another program", conn)
}

// CloseOnExec marks every file descriptor but the standard ones close-on-exec, those that a launcher leaked
// included.
func CloseOnExec() error {
	err := unix.CloseRange(firstFD, ^uint(0), unix.CLOSE_RANGE_CLOEXEC)
	if err == nil {
		return nil
	}
	// Kernels before 5.11 do not have it.
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return err
	}
	for _, entry := range entries {
		fd := 0
		if _, err := fmt.Sscan(entry.Name(), &fd); err == nil && fd >= firstFD {
			unix.CloseOnExec(fd)
		}
	}
	return nil
}

// Control calls fn with a file's descriptor without touching its blocking mode.
func Control(c syscall.Conn, fn func(fd int) error) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	if err := raw.Control(func(fd uintptr) { inner = fn(int(fd)) }); err != nil {
		return err
	}
	return inner
}
