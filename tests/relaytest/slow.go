package relaytest

import (
	"bytes"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"mailproxy/tests/testlog"
)

// SlowClient has the mailhost send 3 MiB and end its direction, while the client keeps sending and reads with
// pauses. The client must get every byte, the end of the stream, and no reset.
func SlowClient(t testing.TB, client, mailhost Conn) {
	t.Helper()
	want := make([]byte, 3<<20)
	_, _ = rand.NewChaCha8([32]byte{7}).Read(want)
	go func() { // one that closes what it has not read resets its connection, and what it sent may be lost
		go func() {
			_, _ = io.Copy(io.Discard, mailhost)
			mailhost.Close()
		}()
		_, _ = mailhost.Write(want)
		_ = mailhost.CloseWrite()
	}()
	go func() {
		for {
			if _, err := io.WriteString(client, "a NOOP\r\n"); err != nil {
				return
			}
		}
	}()
	var got []byte
	buf := make([]byte, 64<<10)
	for len(got) < len(want) {
		n, err := client.Read(buf)
		if got = append(got, buf[:n]...); err != nil && len(got) < len(want) {
			t.Fatalf("after %d of %d bytes: %v", len(got), len(want), err)
		}
		<-time.After(10 * time.Millisecond)
	}
	if n, err := client.Read(buf); n != 0 || err != io.EOF {
		t.Errorf("at the end: %d bytes, %v", n, err)
	}
	if !bytes.Equal(got, want) {
		t.Error("bytes were changed")
	}
}

// Exchange has a send a few bytes, and b receive them.
func Exchange(t testing.TB, a, b Conn) {
	t.Helper()
	go func() { _, _ = io.WriteString(a, "exchange") }()
	buf := make([]byte, 8)
	_ = b.SetReadDeadline(time.Now().Add(testlog.Patience))
	if n, err := io.ReadFull(b, buf); err != nil || string(buf) != "exchange" {
		t.Fatalf("%q %v", buf[:n], err)
	}
}
