package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"mailproxy/authlib"
	"mailproxy/internal/peercred"
	"mailproxy/tests/testlog"
)

// keep has the client of a daemon keep connections.
func (s *started) keep(n int) *started {
	s.Keep = n
	return s
}

// dialPersistent connects to the second socket.
func (s *started) dialPersistent(t *testing.T) *bufio.ReadWriter {
	t.Helper()
	c, err := net.Dial("unix", authlib.PersistentSocket(s.path))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(testlog.Patience))
	return bufio.NewReadWriter(bufio.NewReader(c), bufio.NewWriterSize(c, 0))
}

// say writes a text in pieces of step bytes.
func say(t *testing.T, c *bufio.ReadWriter, text string, step int) {
	t.Helper()
	for text != "" {
		n := min(step, len(text))
		if _, err := c.WriteString(text[:n]); err == nil {
			err = c.Flush()
			if err != nil {
				return // the daemon knows enough
			}
		}
		text = text[n:]
	}
}

// readLine reads a line.
func readLine(c *bufio.ReadWriter) string {
	line, err := c.ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) {
		return err.Error()
	}
	return line
}

// frame is a question on the wire.
func frame(number int, request string) string {
	return fmt.Sprintf("ASK %d %d\n%s", number, len(request), request)
}

// TestPersistent asks everything on one connection.
func TestPersistent(t *testing.T) {
	do := func(_ context.Context, user string) error {
		switch user {
		case "down":
			return errors.New("database is down")
		case "crash":
			panic("boom")
		}
		return nil
	}
	a, log := fakeAsker(t, "", &fake{name: "a", users: []string{"ann"}, do: do})
	s := start(t, a, nil)
	c := s.dialPersistent(t)
	if got := readLine(c); got != authlib.Greeting {
		t.Fatalf("greeting: %q", got)
	}
	const account = "UID=1\nGID=1\nHOME=/a\nADDRESS=ann\n"
	number := 0
	for range 3 {
		for _, test := range []struct{ request, want string }{
			{"AUTH 19\nimap\nlogin\nann\nann\n", account + "PASSWD2=ann\nOPTIONS=own=1\n.\n"},
			{"TCPREMOTEIP=1.2.3.4\nAUTH 17\nimap\nlogin\nann\nx\n", "FAIL\n"},
			{"PRE . imap ann\n", account + "OPTIONS=own=1\n.\n"},
			{"PRE . imap down\n", ""},
			{"PRE . imap crash\n", ""},
			{"PASSWD imap\tann\tann\tx\n", "OK\n"},
			{"PASSWD imap\tnobody\tx\tx\n", "FAIL\n"},
		} {
			number++
			want := fmt.Sprintf("TEMPFAIL %d\n", number)
			if test.want != "" {
				want = fmt.Sprintf("ANSWER %d %d\n%s", number, len(test.want), test.want)
			}
			for _, step := range []int{1000, 1} {
				say(t, c, frame(number, test.request), step)
				got := make([]byte, len(want))
				if n, err := io.ReadFull(c, got); string(got) != want {
					t.Fatalf("%q: %q, %v; want %q", test.request, got[:n], err, want)
				}
			}
		}
	}
	if n := s.connections.Load(); n != 1 {
		t.Errorf("%d connections", n)
	}
	log.has(t, "ERR: panic in a request, which ends: boom")
	for _, send := range []string{
		"\n", "PRE . imap ann\n", "ASK 1\n", "ASK 01 15\nPRE . imap ann\n",
		frame(1, "ENUMERATE\n"), frame(1, "HELLO\n"), "ASK 1 99999\n",
		frame(1, "PRE . imap ann\n") + frame(2, "PRE . imap ann\n"), strings.Repeat("x", 20000),
	} {
		c := s.dialPersistent(t)
		greeting := readLine(c)
		say(t, c, send, 1<<20)
		if rest := readLine(c); greeting != authlib.Greeting || rest != "" {
			t.Errorf("%.40q: %q and %q", send, greeting, rest)
		}
	}
	if !testlog.Eventually(func() bool { return s.connections.Load() == 1 }) {
		t.Errorf("%d connections", s.connections.Load())
	}
}

// TestPersistentSlow: neither who is silent nor who sends half a question holds a slot; they are let go.
func TestPersistentSlow(t *testing.T) {
	many := func(s *started) (conns []*bufio.ReadWriter) {
		for i := range 10 * slotsPerDaemon {
			c := s.dialPersistent(t)
			if got := readLine(c); got != authlib.Greeting {
				t.Fatalf("greeting: %q", got)
			}
			if i%2 == 0 {
				say(t, c, "ASK 1 100\nAUTH 90\nimap\n", 1<<20)
			}
			conns = append(conns, c)
		}
		return conns
	}
	// If a login waited for one of them, the client would give up before this daemon lets it go.
	patient, _ := fakeAsker(t, "daemons=1", &fake{name: "a", users: []string{"ann"}})
	s := start(t, patient, func(s *server) { s.silent = time.Hour }).keep(1)
	many(s)
	for range 20 {
		if got := s.login("ann", "ann"); got != "/a own=1" {
			t.Fatal(got)
		}
	}
	s.Client.Close()
	a, _ := fakeAsker(t, "daemons=1\nAUTH_PERSISTENT_TIMEOUT=1", &fake{name: "a", users: []string{"ann"}})
	s = start(t, a, func(s *server) { s.silent = time.Second }).keep(1)
	if got := s.login("ann", "ann"); got != "/a own=1" {
		t.Fatal(got)
	}
	for i, c := range many(s) {
		if got := readLine(c); got != "" {
			t.Fatalf("connection %d: %q", i, got)
		}
	}
	if !testlog.Eventually(func() bool { return s.connections.Load() == 0 }) {
		t.Errorf("%d connections, the client's own among them", s.connections.Load())
	}
	// The client has a connection that the daemon has closed.
	if got := s.login("ann", "ann"); got != "/a own=1" {
		t.Errorf("after that: %s", got)
	}
}

// TestPersistentLimit: beyond the limit there is no greeting, and the client asks on the first socket.
func TestPersistentLimit(t *testing.T) {
	a, log := fakeAsker(t, "AUTH_PERSISTENT_CONNECTIONS=2", &fake{name: "a", users: []string{"ann"}})
	s := start(t, a, nil).keep(1)
	for range 2 {
		if got := readLine(s.dialPersistent(t)); got != authlib.Greeting {
			t.Fatalf("greeting: %q", got)
		}
	}
	for range 3 {
		if got := readLine(s.dialPersistent(t)); got != "" {
			t.Errorf("beyond the limit: %q", got)
		}
		if got := s.login("ann", "ann"); got != "/a own=1" {
			t.Errorf("got %s", got)
		}
	}
	const line = "WARN: AUTH_PERSISTENT_CONNECTIONS=2 are open: a client has to use the other socket\n"
	log.has(t, line)
	if strings.Count(log.String(), "are open") != 1 {
		t.Errorf("log:\n%s", log)
	}
}

// TestPersistentAllowed: who may not ask on the first socket may not on the second.
func TestPersistentAllowed(t *testing.T) {
	a, log := fakeAsker(t, "", &fake{name: "a", users: []string{"ann"}})
	s := start(t, a, func(s *server) { s.allowed = &peercred.Set{} }).keep(1)
	if got := readLine(s.dialPersistent(t)); got != "" {
		t.Errorf("greeted: %q", got)
	}
	log.has(t, "ERR: a client is not answered, see -allow: user ")
	if got := s.login("ann", "ann"); got != "temporary" {
		t.Errorf("got %s", got)
	}
}

// TestPersistentNoWait: questions that take their time, as many as there are slots but one, delay nobody.
func TestPersistentNoWait(t *testing.T) {
	release := make(chan struct{})
	var inside atomic.Int64
	do := func(_ context.Context, user string) error {
		if user == "slow" {
			inside.Add(1)
			<-release
		}
		return nil
	}
	a, _ := fakeAsker(t, "daemons=1", &fake{name: "a", users: []string{"ann", "slow"}, do: do})
	s := start(t, a, nil).keep(2)
	slow := make(chan string)
	for range slotsPerDaemon - 1 {
		go func() { slow <- s.login("slow", "slow") }()
	}
	if !testlog.Eventually(func() bool { return inside.Load() == slotsPerDaemon-1 }) {
		t.Fatal("the slow ones are not there")
	}
	for range 100 {
		if got := s.login("ann", "ann"); got != "/a own=1" {
			t.Fatal(got)
		}
	}
	close(release)
	for range slotsPerDaemon - 1 {
		if got := <-slow; got != "/a own=1" {
			t.Error(got)
		}
	}
}

// TestPersistentRestart: a client with connections that are kept notices neither a reload nor a restart, and
// a question under way is answered by the old one.
func TestPersistentRestart(t *testing.T) {
	dir, err := os.MkdirTemp("", "authd")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	release, inside := make(chan struct{}), make(chan struct{})
	do := func(_ context.Context, user string) error {
		if user == "slow" {
			close(inside)
			<-release
		}
		return nil
	}
	old, _ := fakeAsker(t, "", &fake{name: "old", users: []string{"ann", "slow"}, do: do})
	first := startIn(t, dir, old, nil)
	client := &started{Client: &authlib.Client{Socket: first.path, Keep: 4}}
	if got := client.login("ann", "ann"); got != "/old own=1" {
		t.Fatal(got)
	}
	reloaded, _ := fakeAsker(t, "DEFAULTOPTIONS=new=1", old.modules[0].Module.(*fake))
	first.use(reloaded)
	if got := client.login("ann", "ann"); got != "/old own=1,new=1" || first.connections.Load() != 1 {
		t.Errorf("after a reload: %s, %d connections", got, first.connections.Load())
	}
	slow := make(chan string)
	go func() { slow <- client.login("slow", "slow") }()
	<-inside
	first.stop()
	for range cap(first.done) {
		if err := <-first.done; err != nil {
			t.Error(err)
		}
	}
	next, _ := fakeAsker(t, "", &fake{name: "new", users: []string{"ann"}})
	startIn(t, dir, next, nil)
	for range 3 {
		if got := client.login("ann", "ann"); got != "/new own=1" {
			t.Errorf("after a restart: %s", got)
		}
	}
	close(release)
	if got := <-slow; got != "/old own=1,new=1" {
		t.Errorf("the question under way: %s", got)
	}
	first.done <- nil // for the end of the test
	first.done <- nil
}

// BenchmarkSockets compares questions on the two sockets: client and daemon in one process, {SHA}'s work left
// out. cpu-µs/op is the time of both.
func BenchmarkSockets(b *testing.B) {
	for name, keep := range map[string]int{"first": 0, "persistent": 32} {
		for _, clients := range []int{1, 16} {
			b.Run(fmt.Sprintf("%s/%d", name, clients), func(b *testing.B) {
				a, _ := fakeAsker(b, "", &fake{name: "a", users: []string{"ann"}})
				s := start(b, a, nil).keep(keep)
				b.SetParallelism(clients)
				b.ReportAllocs()
				began := processor()
				b.ResetTimer()
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						if got := s.login("ann", "ann"); got != "/a own=1" {
							b.Error(got)
						}
					}
				})
				b.ReportMetric(float64((processor()-began).Microseconds())/float64(b.N), "cpu-µs/op")
			})
		}
	}
}

// processor is the CPU time that this process has had.
func processor() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
