package main

import "golang.org/x/sys/unix"

// reserve holds file descriptors for what must be possible when all others are used up: a restart.
type reserve struct{ fds []int }

// reserved is what starting a process and talking to it needs.
const reserved = 12

// fill takes as many descriptors as there are, at most the number reserved.
func (r *reserve) fill() {
	for len(r.fds) < reserved {
		fd, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return
		}
		r.fds = append(r.fds, fd)
	}
}

// release makes room.
func (r *reserve) release() {
	for _, fd := range r.fds {
		unix.Close(fd)
	}
	r.fds = nil
}
