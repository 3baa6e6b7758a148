package resident

import (
	"net"
	"os"
	"strconv"
	"strings"
	"testing"

	"mailproxy/tests/harness"
)

const memoryAddr = "127.0.1.4"

// resident is a process's memory in KiB (VmRSS).
func resident(t *testing.T, pid string) int {
	t.Helper()
	status, err := os.ReadFile("/proc/" + pid + "/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "\nVmRSS:")
	value, _, _ := strings.Cut(rest, " kB")
	n, err := strconv.Atoi(strings.TrimSpace(value))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// silent connects n clients that say nothing, and waits until each is greeted.
func silent(t *testing.T, n int, at string) {
	t.Helper()
	conns := make([]net.Conn, n)
	for i := range conns {
		conn, err := net.Dial("tcp", at)
		if err != nil {
			t.Fatal(err)
		}
		conns[i] = conn
	}
	t.Cleanup(func() {
		for _, conn := range conns {
			conn.Close()
		}
	})
	for _, conn := range conns {
		if _, err := conn.Read(make([]byte, 512)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestSilentMemory(t *testing.T) {
	harness.Site{}.Start(t)
	p := start(t, "courier", "IMAP_PROXY=1", "LOGIN_TIMEOUT=600", "MAXUNAUTH=9800")
	at := listening(t, p)
	before := resident(t, pid(p))
	n := 9000
	silent(t, n, at)
	after := resident(t, pid(p))
	t.Logf("%d KiB before, %d KiB with %d", before, after, n)
	t.Logf("%d bytes each", (after-before)*1024/n)
}
