// Package testport gives tests TCP addresses that are theirs, though nobody listens there.
package testport

import (
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

// Reserve returns an address of loopback ("127.0.0.1:port") that refuses connections until a program of the
// test listens there. A socket that does not listen is bound to it until the test ends: the system gives the
// port to nobody who asks for any port, and to nobody as the near end of a connection. A program that asks
// for this very port gets it if it sets SO_REUSEADDR before it binds, as Go's listeners do.
func Reserve(t testing.TB) string {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		t.Fatal(err)
	}
	loopback := [4]byte{127, 0, 0, 1}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: loopback}); err != nil {
		t.Fatal(err)
	}
	bound, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	port := bound.(*unix.SockaddrInet4).Port
	return netip.AddrPortFrom(netip.AddrFrom4(loopback), uint16(port)).String()
}
