// Package relaytest holds the tests that everything which joins two connections must pass: the engine,
// relayd, and both with TLS. A test is given the far ends only, so it sees what a mail client and a
// mailhost see.
package relaytest

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"testing"
	"time"
)

// Joiner starts joining two connections, which it owns from then on. wait returns when both have been let go.
// Several sessions are joined at the same time. halfClose is for relay.Session.
type Joiner func(t testing.TB, client, mailhost Conn, halfClose time.Duration) (wait func())

// Run tries join on every pair of kinds, on all pairs at the same time: the tests wait more than they work.
// Those that measure time come first, alone.
func Run(t *testing.T, clients, mailhosts []Kind, join Joiner) {
	for _, ck := range clients {
		for _, mk := range mailhosts {
			name := ck.Name + "+" + mk.Name
			try := func(t *testing.T, run func(*session)) {
				nc, fc := ck.Make(t)
				nm, fm := mk.Make(t)
				run(&session{T: t, client: fc, mailhost: fm, nearClient: nc, nearMailhost: nm, join: join,
					halfClose: time.Minute,
					orderly:   map[Conn]bool{fc: ck.Orderly, fm: mk.Orderly}})
			}
			for _, tc := range timed {
				t.Run(name+"/"+tc.name, func(t *testing.T) { try(t, tc.run) })
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				for _, tc := range cases {
					t.Run(tc.name, func(t *testing.T) { try(t, tc.run) })
				}
			})
		}
	}
}

// session is one test's view of one session.
type session struct {
	*testing.T
	client, mailhost         Conn
	nearClient, nearMailhost Conn
	join                     Joiner
	halfClose                time.Duration
	orderly                  map[Conn]bool // by far end: see Kind
	wait                     func()
}

func (s *session) start() { s.wait = s.join(s.T, s.nearClient, s.nearMailhost, s.halfClose) }

// over expects the relay to let both connections go.
func (s *session) over() {
	s.Helper()
	done := make(chan struct{})
	go func() { s.wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(time.Minute):
		s.Fatal("the session does not end")
	}
}

type testCase struct {
	name string
	run  func(*session)
}

var timed = []testCase{{"AfterBulk", afterBulk}}

var cases = []testCase{
	{"Waiting", waiting}, {"ByteByByte", byteByByte}, {"Bulk", bulk}, {"SlowReader", slowReader},
	{"HalfCloseClient", halfCloseClient}, {"HalfCloseMailhost", halfCloseMailhost}, {"Bursts", bursts},
	{"CloseAfterWrite", closeAfterWrite}, {"CloseTogether", closeTogether}, {"ResetByClient", resetByClient},
	{"ResetByMailhost", resetByMailhost}, {"ResetInBulk", resetInBulk},
}

// waiting: what stood in both sockets before the join arrives.
func waiting(s *session) {
	send(s, s.client, "a1 NOOP\r\n")
	send(s, s.mailhost, "* BYE\r\n")
	s.start()
	expect(s, s.mailhost, "a1 NOOP\r\n")
	expect(s, s.client, "* BYE\r\n")
	s.client.Close()
	s.mailhost.Close()
	s.over()
}

func byteByByte(s *session) {
	s.start()
	for i := range 300 {
		send(s, s.client, string(rune('a'+i%26)))
		expect(s, s.mailhost, string(rune('a'+i%26)))
		send(s, s.mailhost, string(rune('A'+i%26)))
		expect(s, s.client, string(rune('A'+i%26)))
	}
	s.client.Close()
	ends(s, s.mailhost)
	s.mailhost.Close()
	s.over()
}

// halfCloseMailhost: the mailhost's end is the session's end. The client gets everything, and then its own
// end is the last.
func halfCloseMailhost(s *session) {
	s.start()
	answer := bytes.Repeat([]byte("0123456789abcdef"), 20000)
	go func() {
		_, _ = s.mailhost.Write(answer)
		s.mailhost.CloseWrite()
	}()
	got, err := io.ReadAll(s.client)
	if err != nil || !bytes.Equal(got, answer) {
		s.Fatalf("%d of %d bytes, %v", len(got), len(answer), err)
	}
	s.client.Close()
	s.over()
}

// halfCloseClient: the client ends its direction, the mailhost sees that and still answers at length.
func halfCloseClient(s *session) {
	a, b := s.client, s.mailhost
	s.start()
	send(s, a, "QUIT\r\n")
	if err := a.CloseWrite(); err != nil {
		s.Fatal(err)
	}
	expect(s, b, "QUIT\r\n")
	ends(s, b)
	time.Sleep(20 * time.Millisecond) // an end that is followed by nothing for a while is what is tested
	answer := bytes.Repeat([]byte("0123456789abcdef"), 20000)
	go func() {
		_, _ = b.Write(answer)
		b.CloseWrite()
	}()
	got, err := io.ReadAll(a)
	if err != nil || !bytes.Equal(got, answer) {
		s.Fatalf("after a half-close: %d of %d bytes, %v", len(got), len(answer), err)
	}
	s.over()
}

// closeAfterWrite: everything written before a close arrives.
func closeAfterWrite(s *session) {
	s.start()
	data := bytes.Repeat([]byte("x"), 100_000)
	go func() {
		_, _ = s.client.Write(data)
		s.client.Close()
	}()
	got, err := io.ReadAll(s.mailhost)
	if err != nil || len(got) != len(data) {
		s.Fatalf("%d of %d bytes, %v", len(got), len(data), err)
	}
	s.mailhost.Close()
	s.over()
}

func closeTogether(s *session) {
	s.start()
	send(s, s.client, "x")
	expect(s, s.mailhost, "x")
	var wg sync.WaitGroup
	for _, c := range []Conn{s.client, s.mailhost} {
		wg.Add(1)
		go func() { defer wg.Done(); c.Close() }()
	}
	wg.Wait()
	s.over()
}

func bulk(s *session) {
	s.start()
	if err := Bulk(s.client, s.mailhost, Size); err != nil {
		s.Fatal(err)
	}
	s.over()
}

// slowReader: a peer that reads late and little loses nothing, and the other direction goes on meanwhile.
func slowReader(s *session) {
	s.start()
	const size = 12 << 20
	src := func() io.Reader { return io.LimitReader(rand.NewChaCha8([32]byte{9}), size) }
	go func() {
		_, _ = io.Copy(s.mailhost, src())
		s.mailhost.CloseWrite()
	}()
	time.Sleep(300 * time.Millisecond) // a reader that is late is what is tested: all buffers on the way fill
	for range 20 {
		send(s, s.client, "DONE\r\n")
		expect(s, s.mailhost, "DONE\r\n")
	}
	want, got := sha256.New(), sha256.New()
	_, _ = io.Copy(want, src())
	var total int64
	for buf := make([]byte, 4096); ; {
		n, err := s.client.Read(buf)
		got.Write(buf[:n])
		if total += int64(n); total < 400_000 && n > 0 {
			time.Sleep(time.Millisecond) // and slow
		} else {
			buf = make([]byte, 128<<10)
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			s.Fatal(err)
		}
	}
	if total != size || !bytes.Equal(want.Sum(nil), got.Sum(nil)) {
		s.Fatalf("%d of %d bytes, or changed", total, size)
	}
	s.client.Close()
	s.over()
}

// bursts: messages of every size, with pauses, in lock step: small path, bulk path and the way back.
func bursts(s *session) {
	s.start()
	r := rand.New(rand.NewPCG(1, 2))
	for i, n := range []int{1, 100, 5000, 16 << 10, 16<<10 + 1, 64 << 10, 64<<10 + 1, 300_000, 2, 1 << 20, 3,
		70_000, 1} {
		data := make([]byte, n)
		for j := range data {
			data[j] = byte(r.Uint32())
		}
		from, to := s.client, s.mailhost
		if i%2 == 1 {
			from, to = to, from
		}
		go func() { _, _ = from.Write(data) }()
		got := make([]byte, n)
		if _, err := io.ReadFull(to, got); err != nil || !bytes.Equal(got, data) {
			s.Fatalf("burst %d of %d bytes: %v", i, n, err)
		}
	}
	s.client.Close()
	ends(s, s.mailhost)
	s.mailhost.Close()
	s.over()
}

// afterBulk: the odd end of a bulk transfer, and one byte that follows in the same direction, wait for
// nothing: neither for more bytes nor for the relay's rounds of tidying up, a second apart.
func afterBulk(s *session) {
	s.start()
	const late = 400 * time.Millisecond
	var waits []time.Duration
	for i, n := range []int{2<<20 - 1, 1<<20 + 1, 16*65483 + 53, 3_333_333, 1 << 20, 65_537} {
		from, to := s.mailhost, s.client
		if i%3 == 2 {
			from, to = to, from
		}
		go func() { _, _ = from.Write(make([]byte, n)) }()
		got := make([]byte, n-1)
		if _, err := io.ReadFull(to, got); err != nil {
			s.Fatalf("%d bytes: %v", n, err)
		}
		for range 2 { // the last byte of the bulk, and one more
			start := time.Now()
			expect(s, to, "\x00")
			waits = append(waits, time.Since(start))
			send(s, from, "\x00")
		}
		expect(s, to, "\x00")
	}
	slices.Sort(waits)
	if waits[len(waits)/2] > late { // a busy machine may delay some
		s.Errorf("single bytes after bulk took %v", waits)
	}
	s.client.Close()
	ends(s, s.mailhost)
	s.mailhost.Close()
	s.over()
}

func resetByClient(s *session)   { resetBy(s, s.client, s.mailhost) }
func resetByMailhost(s *session) { resetBy(s, s.mailhost, s.client) }

// resetBy: a breaks off; b is told, and the session ends without b's help.
func resetBy(s *session, a, b Conn) {
	s.start()
	send(s, a, "x")
	expect(s, b, "x")
	Reset(a)
	if _, err := b.Read(make([]byte, 1)); err == nil {
		s.Fatal("bytes after a reset")
	}
	if s.orderly[a] {
		b.Close() // it has to answer an orderly end
	}
	s.over()
}

// resetInBulk: the reader breaks off while megabytes are under way; the writer is told.
func resetInBulk(s *session) {
	s.start()
	go func() {
		_, _ = io.CopyN(io.Discard, s.client, 1<<20)
		Reset(s.client)
	}()
	buf := make([]byte, 64<<10)
	for {
		if _, err := s.mailhost.Write(buf); err != nil {
			break
		}
	}
	s.mailhost.Close()
	s.over()
}

// Reset closes a TCP connection with RST; anything else is closed.
func Reset(conn Conn) {
	c := io.Closer(conn)
	if t, ok := c.(interface{ NetConn() net.Conn }); ok {
		c = t.NetConn()
	}
	if t, ok := c.(*net.TCPConn); ok {
		_ = t.SetLinger(0)
	}
	c.Close()
}

func send(s *session, c Conn, text string) {
	s.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		s.Fatal(err)
	}
}

func expect(s *session, c Conn, text string) {
	s.Helper()
	buf := make([]byte, len(text))
	if n, err := io.ReadFull(c, buf); err != nil || string(buf) != text {
		s.Fatalf("got %q, want %q (%v)", buf[:n], text, err)
	}
}

func ends(s *session, c Conn) {
	s.Helper()
	if n, err := c.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
		s.Fatalf("got %d bytes, %v, want the end of the stream", n, err)
	}
}
