package connection

import "golang.org/x/sys/unix"

// Poll returns what poll(2) reports of a file descriptor at this moment: of events, and POLLERR, POLLHUP and
// POLLNVAL. It does not wait.
func Poll(fd int, events int16) (revents int16, err error) {
	p := []unix.PollFd{{Fd: int32(fd), Events: events}}
	for {
		// A signal ends poll even when it does not wait; Go's scheduler sends them to its own threads.
		if _, err = unix.Poll(p, 0); err != unix.EINTR {
			return p[0].Revents, err
		}
	}
}
