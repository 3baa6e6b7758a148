package metrics

import (
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// WriteDescriptors writes how many file descriptors this process has open and may have, under the names that
// Prometheus' own libraries use. 2^64-1, no limit, is not written.
func WriteDescriptors(w io.Writer) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return
	}
	if open, err := openDescriptors(); err == nil {
		Write(w, Gauge, "process_open_fds", open)
	} else if errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) {
		Write(w, Gauge, "process_open_fds", int64(limit.Cur)) // there is none left to count them with
	}
	if limit.Cur != unix.RLIM_INFINITY {
		Write(w, Gauge, "process_max_fds", int64(limit.Cur))
	}
}

// openDescriptors counts them. Since Linux 6.2 the directory's size is their number; before, it is 0.
func openDescriptors() (int64, error) {
	const dir = "/proc/self/fd"
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err == nil && st.Size > 0 {
		return st.Size, nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return 0, err
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	return int64(max(len(names)-1, 0)), err // but for d
}
