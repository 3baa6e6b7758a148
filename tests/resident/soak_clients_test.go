package resident

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"time"
)

// soakClient is a kind of client. session is one connection, the n-th, which ends when stop is closed at the
// latest; it returns an error when it could not do what the client is there for.
type soakClient struct {
	name    string
	session func(n int, stop <-chan struct{}) error
}

var soakClients = []soakClient{
	{"plain", func(int, <-chan struct{}) error { return wholeSession(false) }},
	{"TLS", func(int, <-chan struct{}) error { return wholeSession(true) }},
	{"failing", failing},
	{"idle", idle},
	{"broken", broken},
}

// from connects from an address of this network's own, the n-th.
func from(n int, addr string) (net.Conn, error) {
	local := netip.AddrFrom4([4]byte{127, 0, 2, byte(n%250 + 1)})
	d := net.Dialer{Timeout: 10 * time.Second,
		LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(local, 0))}
	conn, err := d.Dial("tcp", addr)
	if err == nil {
		err = conn.SetDeadline(time.Now().Add(20 * time.Second))
	}
	return conn, err
}

// begin connects and reads the greeting.
func begin(n int, encrypted bool) (net.Conn, *bufio.Reader, error) {
	port := ":143"
	if encrypted {
		port = ":993"
	}
	conn, err := from(n, soakAddr+port)
	if err != nil {
		return nil, nil, err
	}
	if encrypted {
		conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
	}
	in := bufio.NewReader(conn)
	if _, err := in.ReadString('\n'); err != nil {
		conn.Close()
		return nil, nil, err
	}
	return conn, in, nil
}

// command sends one and expects its answer to begin so.
func command(conn net.Conn, in *bufio.Reader, text, want string) error {
	if _, err := io.WriteString(conn, text+"\r\n"); err != nil {
		return err
	}
	for {
		line, err := in.ReadString('\n')
		switch {
		case err != nil:
			return err
		case strings.HasPrefix(line, want):
			return nil
		case !strings.HasPrefix(line, "*"):
			return fmt.Errorf("%q instead of %q", line, want)
		}
	}
}

func wholeSession(encrypted bool) error {
	conn, in, err := begin(0, encrypted)
	if err != nil {
		return err
	}
	defer conn.Close()
	for _, step := range [][2]string{{"a LOGIN ann secret", "a OK"}, {"b NOOP", "b OK"}, {"c LOGOUT", "c OK"}} {
		if err := command(conn, in, step[0], step[1]); err != nil {
			return err
		}
	}
	return nil
}

// failing is refused, as many names and from many addresses.
func failing(n int, _ <-chan struct{}) error {
	conn, in, err := begin(n, false)
	if err != nil {
		return err
	}
	defer conn.Close()
	return command(conn, in, fmt.Sprintf("a LOGIN nobody%d wrong", n%1000), "a NO")
}

// idle logs in, stays for a while and goes without a word.
func idle(n int, stop <-chan struct{}) error {
	var all []net.Conn
	defer func() {
		for _, conn := range all {
			conn.Close()
		}
	}()
	for range 5 {
		conn, in, err := begin(n, n%2 == 0)
		if err != nil {
			return err
		}
		all = append(all, conn)
		if err := command(conn, in, "a LOGIN ann secret", "a OK"); err != nil {
			return err
		}
	}
	select {
	case <-stop:
	case <-time.After(time.Second / 2):
	}
	return nil
}

// broken does in turn what no client should.
func broken(n int, _ <-chan struct{}) error {
	conn, err := from(n, soakAddr+map[bool]string{true: ":143", false: ":993"}[n%2 == 0])
	if err != nil {
		return err
	}
	defer conn.Close()
	for range (n / 2) % 3 { // nothing, a piece of something, or more than is taken
		text := []string{
			"\x16\x03\x01\x02\x00\x01", "a LOGIN ann ", "a LOGIN {5}\r\n\xff\x00", strings.Repeat("x", 100<<10),
		}
		if _, err := io.WriteString(conn, text[(n/6)%len(text)]); err != nil {
			return nil // it has been shown out
		}
	}
	if tcp, ok := conn.(*net.TCPConn); ok && n%5 == 0 {
		return tcp.SetLinger(0) // the end is a reset
	}
	return nil
}
