package resident

import (
	"os"
	"strconv"
	"strings"
	"testing"

	"mailproxy/tests/harness"
	"mailproxy/tests/testcert"
)

// residentMemory is a process's memory in KiB (VmRSS).
func residentMemory(t *testing.T, pid string) int {
	t.Helper()
	status := harness.ReadFile(t, "/proc/"+pid+"/status")
	_, rest, _ := strings.Cut(status, "\nVmRSS:")
	value, _, _ := strings.Cut(rest, " kB")
	n, err := strconv.Atoi(strings.TrimSpace(value))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// connectSilent connects n clients that say nothing, and waits until each is served: greeted, or at least
// accepted.
func connectSilent(t *testing.T, p *harness.Process, n int, at string, greeted bool) {
	t.Helper()
	for range n {
		conn := harness.Connect(t, at)
		if !greeted {
			continue
		}
		if _, err := conn.Read(make([]byte, 512)); err != nil {
			t.Fatal(err)
		}
	}
	if !harness.Eventually(func() bool { return descriptors(t, pid(p)) >= n }) {
		t.Fatalf("%d descriptors, want at least %d", descriptors(t, pid(p)), n)
	}
}

// descriptors is how many file descriptors a process has open.
func descriptors(t *testing.T, pid string) int {
	t.Helper()
	list, err := os.ReadDir("/proc/" + pid + "/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// Clients that say nothing cost at most 16 KiB each (160 MB for 10,000), at the port for TLS too, and neither
// they nor their memory are there when they have gone.
func TestVolumeSilentClients(t *testing.T) {
	n := int(harness.Volume(1000, 9000))
	const most = 16 << 10
	harness.Site{}.Start(t)
	file := harness.NewPKI(t).File(t, "cert.pem", testcert.Spec{Name: "localhost"})
	for port, greeted := range map[string]bool{"143": true, "993": false} {
		t.Run(port, func(t *testing.T) {
			p := start(t, "courier", "LOGIN_TIMEOUT=600", "MAXUNAUTH=9500", "TLS_CERTFILE="+file)
			listening(t, p)
			before := residentMemory(t, pid(p))
			connectSilent(t, p, n, startAddr+":"+port, greeted)
			each := (residentMemory(t, pid(p)) - before) * 1024 / n
			t.Logf("%d bytes for each of %d silent clients", each, n)
			if each > most {
				t.Errorf("%d bytes for each of %d silent clients, want at most %d", each, n, most)
			}
		})
	}
}
