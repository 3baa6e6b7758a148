package ops

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"mailproxy/tests/harness"
)

// unlimited is for tests that connect more often from one address than anybody may.
const unlimited = "HAPROXY_SOURCE_LIMIT=1000000"

// greeted says whether somebody from one address who connects to another is greeted there. The connection is
// closed.
func greeted(t *testing.T, from, addr string) bool {
	t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: harness.Patience}
	conn, err := dialer.Dial("tcp", addr)
	if errors.Is(err, syscall.ECONNRESET) {
		return false
	}
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(2 * harness.Patience)); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	return err == nil && (strings.HasPrefix(line, "* OK ") || strings.HasPrefix(line, "+OK "))
}

// TestSourceLimit: etc/haproxy/haproxy.cfg as it is, on two balancers. A source that has connected too often
// within a minute is no longer let in, at any port of either; others are. A balancer that comes back is told
// by the other.
func TestSourceLimit(t *testing.T) {
	const second, limit = "127.0.0.11", 20
	harness.Userdb(t)
	harness.CourierAuthdaemond(t, "authuserdb", nil)
	// HAProxy's checks come from any address of the machine.
	env := harness.Env{"IMAP_PROXY": "1", "POP3_PROXY": "1", "HAPROXY": "1", "HAPROXY_ALLOW": "127.0.0.0/8"}
	harness.IMAP.UnderCourier(t, "127.0.5.1", harness.PlainBin(t, "imapd-proxy"), env)
	harness.POP3.UnderCourier(t, "127.0.5.1", harness.PlainBin(t, "pop3d-proxy"), env)
	config := harness.Source(t, "etc/haproxy/haproxy.cfg")
	t.Cleanup(func() { harness.Hosts(t) })
	dir := harness.Dir(t)
	start := func(name, ip string) (socket string, p *harness.Process) {
		t.Helper()
		harness.Hosts(t, ip+" mail.example.com", "127.0.5.1 proxy1.example.com", "127.0.5.2 proxy2.example.com",
			balancer+" balancer1.example.com", second+" balancer2.example.com")
		socket = filepath.Join(dir, name)
		p = haproxyAs(t, name, config, ip+":143",
			"HAPROXY_SOCKET="+socket, fmt.Sprint("HAPROXY_SOURCE_LIMIT=", limit))
		for _, server := range []string{"imap/proxy1", "pop3/proxy1"} {
			if !harness.Eventually(func() bool { return state(t, socket, server, status) == "UP" }) {
				t.Fatalf("%s does not use %s:\n%s", name, server, p.Log)
			}
		}
		return socket, p
	}
	// knows waits until a balancer counts a source above the limit.
	knows := func(socket, source string) {
		t.Helper()
		query := fmt.Sprint("show table sources data.conn_rate gt ", limit)
		entry := func() string { return admin(t, socket, query) }
		if !harness.Eventually(func() bool { return strings.Contains(entry(), source+" ") }) {
			t.Fatalf("%s does not know of %s:\n%s", socket, source, entry())
		}
	}
	_, first := start("balancer1", balancer)
	socket2, _ := start("balancer2", second)

	const calm = "127.0.0.78"
	for n := range limit {
		if !greeted(t, client, balancer+":143") {
			t.Fatalf("connection %d is refused", n+1)
		}
	}
	// The rate is of a minute that slides: on a busy machine the first connections count less already. What is
	// refused counts, too, so the source is far above the limit in the end, and stays there.
	const more = 3 * limit
	refused := 0
	for range more {
		if !greeted(t, client, balancer+":143") {
			refused++
		}
	}
	if refused < more/2 {
		t.Errorf("%d of %d further connections are refused", refused, more)
	}
	if !greeted(t, calm, balancer+":143") {
		t.Error("another source is refused")
	}
	knows(socket2, "::ffff:"+client)
	for _, port := range []string{":143", ":110"} {
		if greeted(t, client, second+port) {
			t.Errorf("the other balancer lets the source in, %s", port)
		}
		if !greeted(t, calm, second+port) {
			t.Errorf("another source is refused by the other balancer, %s", port)
		}
	}
	first.Stop()
	socket1, _ := start("balancer1", balancer)
	knows(socket1, "::ffff:"+client)
	if greeted(t, client, balancer+":143") {
		t.Error("a balancer that has come back lets the source in")
	}
}
