package tlsconf

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"mailproxy/internal/smallfile"
)

// fileID is which file an open file is, and in which state: another file, or another content, has another fileID.
type fileID struct {
	dev, ino     uint64
	size         int64
	mtime, ctime unix.Timespec
}

// settling is the time after its last change in which a file may be changed again without a trace: clocks of file systems tick
// every few milliseconds, those of some network file systems every second.
const settling = 2 * time.Second

var errChanged = errors.New("it changes while it is read")

// identify looks at an open file: a regular one of at most limit bytes.
func identify(fd int, limit int64) (id fileID, err error) {
	var st unix.Stat_t
	switch err := unix.Fstat(fd, &st); {
	case err != nil:
		return id, err
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		return id, smallfile.ErrNotRegular
	case st.Size > limit:
		return id, fmt.Errorf("more than %d bytes", limit)
	}
	return fileID{uint64(st.Dev), st.Ino, st.Size, st.Mtim, st.Ctim}, nil
}

// settled tells whether what is read now can be kept under this name.
func (id fileID) settled(now time.Time) bool { return now.Sub(time.Unix(id.ctime.Unix())) > settling }

// read reads the whole file, from its beginning, wherever its other users are.
func (id fileID) read(fd int) ([]byte, error) {
	data := make([]byte, id.size)
	for n := 0; n < len(data); {
		r, err := unix.Pread(fd, data[n:], int64(n))
		switch {
		case err == unix.EINTR:
		case err != nil:
			return nil, err
		case r == 0:
			return nil, errChanged
		default:
			n += r
		}
	}
	if after, err := identify(fd, id.size); err != nil || after != id {
		return nil, errChanged
	}
	return data, nil
}

func closeFiles(files map[string]int) {
	for _, fd := range files {
		unix.Close(fd)
	}
}
