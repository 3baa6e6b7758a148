package successor

import (
	"sync"

	"golang.org/x/sys/unix"
)

// Reserve holds file descriptors for what must be possible when all others are used up: starting a
// successor. Its zero value holds none. Its methods may be called by several goroutines.
type Reserve struct {
	mu  sync.Mutex
	fds []int
}

// reserved is what starting a process and talking to it needs.
const reserved = 12

// Fill takes as many descriptors as there are, at most the number reserved.
func (r *Reserve) Fill() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.fds) < reserved {
		fd, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return
		}
		r.fds = append(r.fds, fd)
	}
}

// Release makes room.
func (r *Reserve) Release() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, fd := range r.fds {
		unix.Close(fd)
	}
	r.fds = nil
}
