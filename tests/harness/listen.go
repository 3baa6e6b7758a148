package harness

import (
	"encoding/hex"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Listening reports whether a TCP socket listens on the address ("ip:port"), or on its port on all addresses. It looks in
// /proc/net, because a connection to try it would show up in the server's log.
func Listening(t testing.TB, addr string) bool {
	t.Helper()
	want, err := netip.ParseAddrPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(listeners(t), func(have netip.AddrPort) bool {
		return have.Port() == want.Port() && (have.Addr().IsUnspecified() || have.Addr() == want.Addr())
	})
}

func listeners(t testing.TB) []netip.AddrPort {
	t.Helper()
	var all []netip.AddrPort
	for _, file := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			fields := strings.Fields(line)
			if len(fields) < 4 || fields[3] != "0A" { // 0A: TCP_LISTEN
				continue
			}
			host, port, _ := strings.Cut(fields[1], ":")
			raw, err := hex.DecodeString(host)
			number, perr := strconv.ParseUint(port, 16, 16)
			if err != nil || perr != nil {
				t.Fatalf("%s: %q is not an address", file, fields[1])
			}
			// The kernel prints words of 32 bits in the machine's order; this is written for little-endian machines.
			for i := 0; i+4 <= len(raw); i += 4 {
				slices.Reverse(raw[i : i+4])
			}
			ip, _ := netip.AddrFromSlice(raw)
			all = append(all, netip.AddrPortFrom(ip.Unmap(), uint16(number)))
		}
	}
	return all
}

// FreePort returns a TCP port on which nothing listens on any address of the island.
func FreePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func (p *Process) waitListen(t testing.TB, addrs ...string) {
	t.Helper()
	for _, addr := range addrs {
		p.ready(t, "listener on "+addr, func() bool { return Listening(t, addr) })
	}
}

func hostPort(addr string, port int) string { return net.JoinHostPort(addr, strconv.Itoa(port)) }
