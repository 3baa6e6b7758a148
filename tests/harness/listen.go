package harness

import (
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Listening reports whether a TCP socket listens on the address ("ip:port"), or on its port on all addresses.
// It looks in /proc/net, because a connection to try it would show up in the server's log.
func Listening(t testing.TB, addr string) bool {
	t.Helper()
	want, err := netip.ParseAddrPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(sockets(t), func(s socket) bool {
		return s.state == stateListen && s.local.Port() == want.Port() &&
			(s.local.Addr().IsUnspecified() || s.local.Addr() == want.Addr())
	})
}

// Serving reports whether a server at addr ("ip:port") still has the connection of the client at this port
// open.
func Serving(t testing.TB, addr string, client uint16) bool {
	t.Helper()
	want, err := netip.ParseAddrPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(sockets(t), func(s socket) bool {
		open := s.state == stateEstablished || s.state == stateCloseWait
		return open && s.local == want && s.remote.Port() == client
	})
}

// States of TCP sockets in /proc/net/tcp.
const (
	stateEstablished = "01"
	stateCloseWait   = "08"
	stateListen      = "0A"
)

// socket is a line of /proc/net/tcp.
type socket struct {
	local, remote netip.AddrPort
	state         string
	inode         string
}

func sockets(t testing.TB) []socket {
	t.Helper()
	var all []socket
	for _, file := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			fields := strings.Fields(line)
			if len(fields) < 10 || !strings.Contains(fields[1], ":") {
				continue
			}
			local, err := parseSocket(fields[1])
			remote, rerr := parseSocket(fields[2])
			if err != nil || rerr != nil {
				t.Fatalf("%s: %q: %v, %v", file, line, err, rerr)
			}
			all = append(all, socket{local, remote, fields[3], fields[9]})
		}
	}
	return all
}

// connections counts the TCP connections that the process has open.
func (p *Process) connections(t testing.TB) int {
	t.Helper()
	own := map[string]bool{}
	links, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", p.Newest()))
	if err != nil {
		t.Fatal(err)
	}
	for _, link := range links {
		if target, err := os.Readlink(link); err == nil { // else it has been closed meanwhile
			own[target] = true
		}
	}
	n := 0
	for _, s := range sockets(t) {
		if s.state != stateListen && own["socket:["+s.inode+"]"] {
			n++
		}
	}
	return n
}

// parseSocket reads an address as the kernel prints it: words of 32 bits in the machine's order. This is
// written for little-endian machines.
func parseSocket(text string) (netip.AddrPort, error) {
	host, port, _ := strings.Cut(text, ":")
	raw, err := hex.DecodeString(host)
	if err != nil {
		return netip.AddrPort{}, err
	}
	number, err := strconv.ParseUint(port, 16, 16)
	for i := 0; i+4 <= len(raw); i += 4 {
		slices.Reverse(raw[i : i+4])
	}
	ip, _ := netip.AddrFromSlice(raw)
	return netip.AddrPortFrom(ip.Unmap(), uint16(number)), err
}

// WaitListen waits until somebody listens on the addresses ("ip:port", or "tls:ip:port" as in -listen), and
// ends the test when the program ends first.
func (p *Process) WaitListen(t testing.TB, addrs ...string) {
	t.Helper()
	for _, addr := range addrs {
		addr = strings.TrimPrefix(addr, "tls:")
		p.ready(t, "listener on "+addr, func() bool { return Listening(t, addr) })
	}
}

func hostPort(addr string, port int) string { return net.JoinHostPort(addr, strconv.Itoa(port)) }
