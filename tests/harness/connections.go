package harness

import (
	"net"
	"testing"

	"mailproxy/tests/transcript"
)

// Connect connects to "ip:port". The connection is closed at the end of the test.
func Connect(t testing.TB, addr string) *net.TCPConn {
	t.Helper()
	return ConnectFrom(t, "", addr)
}

// ConnectFrom is Connect from this address of loopback.
func ConnectFrom(t testing.TB, from, addr string) *net.TCPConn {
	t.Helper()
	dialer := net.Dialer{Timeout: Patience, LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	conn, err := dialer.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn.(*net.TCPConn)
}

// Dial connects to "ip:port" and returns a client that plays dialogues there; it is closed at the end of
// the test.
func Dial(t testing.TB, addr string) *transcript.Runner {
	t.Helper()
	return &transcript.Runner{Conn: Connect(t, addr)}
}

// Dialogue connects to "ip:port" and plays the client's side of a dialogue.
func Dialogue(t testing.TB, addr, text string) *transcript.Runner {
	t.Helper()
	return transcript.Play(t, Connect(t, addr), text)
}
