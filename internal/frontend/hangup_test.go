package frontend

import (
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"mailproxy/tests/testlog"
)

// Signals, which a busy program's threads get all the time, do not make a client look gone.
func TestHungUp(t *testing.T) {
	client, conn := tcpPair(t)
	c := &Conn{Client: conn}
	signalStorm(t)
	for range 100_000 {
		if c.hungUp() {
			t.Fatal("the client is said to have gone")
		}
	}
	client.Close()
	if !testlog.Eventually(c.hungUp) {
		t.Error("the client has gone, which is not seen")
	}
}

// signalStorm sends SIGURG to the calling goroutine's thread, on which it stays, over and over until the test
// ends. Go's scheduler sends this signal to threads that have worked for long, and otherwise ignores it.
func signalStorm(t *testing.T) {
	t.Helper()
	runtime.LockOSThread()
	pid, thread := os.Getpid(), unix.Gettid()
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
				_ = unix.Tgkill(pid, thread, unix.SIGURG)
			}
		}
	}()
	t.Cleanup(func() {
		close(stop)
		<-stopped
		runtime.UnlockOSThread()
	})
}
