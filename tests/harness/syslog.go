package harness

import (
	"net"
	"os"
	"testing"
)

// Syslog makes /dev/log on the island and returns the log of what arrives there, one line a message, each
// with its "<priority>" in front. It is gone at the end of the test.
func Syslog(t testing.TB) *Log {
	t.Helper()
	Root(t)
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: "/dev/log", Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod("/dev/log", 0o666); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		conn.Close()
		os.Remove("/dev/log")
	})
	log := new(Log)
	go func() {
		message := make([]byte, 65536)
		for {
			n, err := conn.Read(message)
			if err != nil {
				return
			}
			log.Write(append(message[:n:n], '\n'))
		}
	}()
	return log
}
