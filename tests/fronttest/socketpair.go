package fronttest

import (
	"net"
	"testing"
	"time"

	"mailproxy/tests/relaytest"
)

// Socketpair returns the two ends of a stream socket: real sockets, as net.Pipe has no buffer and cannot
// be peeked at. Both work for a minute and are closed with the test.
func Socketpair(t testing.TB) (ours, theirs *net.UnixConn) {
	t.Helper()
	ours, theirs = relaytest.Unix(t, 0)
	for _, c := range []net.Conn{ours, theirs} {
		_ = c.SetDeadline(time.Now().Add(time.Minute))
	}
	return ours, theirs
}
