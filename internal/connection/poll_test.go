package connection

import (
	"testing"

	"golang.org/x/sys/unix"
)

func TestPoll(t *testing.T) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fds[0])
	wants := func(what string, events, want int16) {
		t.Helper()
		if got, err := Poll(fds[0], events); got != want || err != nil {
			t.Errorf("%s: %#x, %v, want %#x", what, got, err, want)
		}
	}
	wants("open", unix.POLLIN|unix.POLLRDHUP, 0)
	if err := unix.Shutdown(fds[1], unix.SHUT_WR); err != nil {
		t.Fatal(err)
	}
	wants("half-closed", unix.POLLRDHUP, unix.POLLRDHUP)
	wants("half-closed, of which nobody asks", 0, 0)
	if err := unix.Close(fds[1]); err != nil {
		t.Fatal(err)
	}
	wants("closed", 0, unix.POLLHUP)
}
