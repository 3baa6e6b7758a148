package session

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"mailproxy/tests/harness"
)

// rawHost is a mailhost that lets everybody in and then hands the connection to the test: the bytes that pass
// are the test's.
const rawHost = "127.0.0.9"

func rawMailhost(t *testing.T, protocol string, then func(*net.TCPConn) error) *harness.FakeMailhost {
	t.Helper()
	raw := harness.ProtocolOf(protocol)
	login := harness.Scripted(t, 0, raw.Mailhost)
	return harness.NewFakeMailhost(t, raw.At(rawHost), func(conn net.Conn) error {
		// One byte a read: the script's reader must not swallow what belongs to the test.
		if err := login(oneByteReads{conn.(*net.TCPConn)}); err != nil {
			return err
		}
		conn.SetDeadline(time.Now().Add(2 * time.Minute))
		return then(conn.(*net.TCPConn))
	})
}

type oneByteReads struct{ *net.TCPConn }

func (c oneByteReads) Read(p []byte) (int, error) { return c.TCPConn.Read(p[:min(1, len(p))]) }

// enter logs in as the user of the raw mailhost and returns the connection, with nothing of the session read.
func enter(t *testing.T, p *harness.Proxy, protocol string) *net.TCPConn {
	t.Helper()
	conn := harness.Connect(t, p.At(protocol))
	logIn(t, conn, protocol)
	return conn
}

// logIn logs raw in.
func logIn(t *testing.T, conn net.Conn, protocol string) {
	t.Helper()
	lines := []string{"", "a LOGIN raw pw\r\n"}
	if strings.HasPrefix(protocol, "POP3") {
		lines = []string{"", "USER raw\r\n", "PASS pw\r\n"}
	}
	conn.SetDeadline(time.Now().Add(2 * time.Minute))
	for _, line := range lines {
		io.WriteString(conn, line)
		answer := ""
		for b := make([]byte, 1); len(answer) == 0 || answer[len(answer)-1] != '\n'; answer += string(b) {
			if _, err := conn.Read(b); err != nil {
				t.Fatalf("after %q: %q, %v", line, answer, err)
			}
		}
		if line != "" && answer[0] != '+' && answer[:4] != "a OK" {
			t.Fatalf("after %q: %q", line, answer)
		}
	}
}

// rawWorld starts an authdaemond that sends user raw to the raw mailhost.
func rawWorld(t *testing.T) {
	t.Helper()
	harness.Userdb(t, harness.Account{Name: "raw", Password: "pw", Options: "mailhost=" + rawHost})
	harness.CourierAuthdaemond(t, "authuserdb", nil)
}

// castagnoli is the checksum that processors compute.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// send writes size bytes that never repeat at any block size and returns their checksum.
func send(w io.Writer, size int64, seed uint32) (uint32, error) {
	sum := uint32(0)
	block := make([]byte, 1<<20-7)
	x := seed
	for i := range block {
		x = x*1664525 + 1013904223
		block[i] = byte(x >> 24)
	}
	for n := uint32(0); size > 0; n++ {
		part := block[:min(size, int64(len(block)))]
		for i := 0; i+4 <= len(part) && i < 4; i++ {
			part[i] = byte(n >> (8 * i))
		}
		sum = crc32.Update(sum, castagnoli, part)
		written, err := w.Write(part)
		size -= int64(written)
		if err != nil {
			return sum, err
		}
	}
	return sum, nil
}

// receive reads to the end of the stream and returns size and checksum.
func receive(r io.Reader) (size int64, sum uint32, err error) {
	block := make([]byte, 1<<18)
	for {
		n, err := r.Read(block)
		size += int64(n)
		sum = crc32.Update(sum, castagnoli, block[:n])
		if errors.Is(err, io.EOF) {
			return size, sum, nil
		}
		if err != nil {
			return size, sum, err
		}
	}
}

type sums struct{ sent, got uint32 }

// exchange sends size bytes and reads what the other side sends to its end, both at once. It closes its
// direction when it has sent everything; the mailhost, whose end is the session's end, when it has received
// everything, too.
func exchange(conn *net.TCPConn, size int64, seed uint32, isMailhost bool) (sums, error) {
	type result struct {
		sum uint32
		err error
	}
	sent := make(chan result, 1)
	go func() {
		sum, err := send(conn, size, seed)
		if err == nil && !isMailhost {
			err = conn.CloseWrite()
		}
		sent <- result{sum, err}
	}()
	n, got, err := receive(conn)
	if err == nil && n != size {
		err = fmt.Errorf("%d bytes arrived, want %d", n, size)
	}
	s := <-sent
	if isMailhost {
		err = errors.Join(err, conn.CloseWrite())
	}
	return sums{s.sum, got}, errors.Join(s.err, err)
}

// Much data each way at the same time: nothing is lost, nothing changes, nothing changes its place.
func TestVolumeEachWay(t *testing.T) {
	size := harness.Volume(64<<20, 1<<30)
	harness.EachMode(t, func(t *testing.T, m *harness.Mode) {
		rawWorld(t)
		p := m.Start(t, harness.ProxyOptions{Addr: addr})
		for _, protocol := range []string{"IMAP", "POP3"} {
			t.Run(protocol, func(t *testing.T) {
				host := make(chan sums, 1)
				rawMailhost(t, protocol, func(conn *net.TCPConn) error {
					s, err := exchange(conn, size, 1, true)
					host <- s
					return err
				})
				client, err := exchange(enter(t, p, protocol), size, 2, false)
				if err != nil {
					t.Fatal(err)
				}
				if s := <-host; s.sent != client.got || s.got != client.sent {
					t.Errorf("checksums differ: client %+v, mailhost %+v", client, s)
				}
			})
		}
	})
}
