package authd

import (
	"net"
	"os"
	"os/exec"
	"testing"

	"mailproxy/tests/harness"
)

// daemon starts our authdaemond on Courier's socket and waits until it answers there.
func daemon(t testing.TB, program string, args ...string) *harness.Process {
	t.Helper()
	return startDaemon(t, exec.Command(program, args...))
}

func startDaemon(t testing.TB, cmd *exec.Cmd) *harness.Process {
	t.Helper()
	os.Remove(harness.CourierAuthSocket)
	p := harness.Start(t, cmd)
	if !harness.Eventually(func() bool {
		c, err := net.Dial("unix", harness.CourierAuthSocket)
		if err == nil {
			c.Close()
		}
		return err == nil || p.Ended()
	}) || p.Ended() {
		t.Fatalf("authdaemond does not listen; its log:\n%s", p.Log)
	}
	return p
}
