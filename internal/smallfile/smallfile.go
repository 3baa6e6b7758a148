// Package smallfile reads regular files that are read for every connection. It does without os.File, whose poller and growing buffer
// would take twenty system calls, and threads, where four do.
package smallfile

import (
	"errors"
	"fmt"
	"io/fs"

	"golang.org/x/sys/unix"
)

// ErrNotRegular says that a name is that of a folder, a named pipe, a device.
var ErrNotRegular = errors.New("not a regular file")

// Open opens a regular file of at most limit bytes for reading. It never waits for a writer of a named pipe.
func Open(path string, limit int64) (fd int, st unix.Stat_t, err error) {
	fail := func(op string, err error) (int, unix.Stat_t, error) {
		return -1, st, &fs.PathError{Op: op, Path: path, Err: err}
	}
	if fd, err = unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0); err != nil {
		return fail("open", err)
	}
	op, err := "stat", unix.Fstat(fd, &st)
	switch {
	case err != nil:
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		op, err = "read", ErrNotRegular
	case st.Size > limit:
		op, err = "read", fmt.Errorf("more than %d bytes", limit)
	}
	if err != nil {
		unix.Close(fd)
		return fail(op, err)
	}
	return fd, st, nil
}

// Read reads a regular file of at most limit bytes, and tells its permissions.
func Read(path string, limit int64) ([]byte, fs.FileMode, error) {
	fd, st, err := Open(path, limit)
	if err != nil {
		return nil, 0, err
	}
	defer unix.Close(fd)
	mode := fs.FileMode(st.Mode & 0o777)
	data := make([]byte, st.Size)
	for n := 0; n < len(data); {
		r, err := unix.Read(fd, data[n:])
		switch {
		case err == unix.EINTR:
		case err != nil:
			return nil, 0, &fs.PathError{Op: "read", Path: path, Err: err}
		case r == 0:
			return data[:n], mode, nil
		default:
			n += r
		}
	}
	return data, mode, nil
}
