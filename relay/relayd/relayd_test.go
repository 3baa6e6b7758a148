package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"mailproxy/internal/maillog"
	"mailproxy/internal/version"
	"mailproxy/relay"
	"mailproxy/relay/handoff"
	"mailproxy/tests/relaytest"
	"mailproxy/tests/testlog"
	"mailproxy/tests/testprocess"
)

// relayd is a service in this process, under the race detector.
type testService struct {
	*service
	socket string
	stop   func()
	log    *testlog.Log
}

func startService(t testing.TB, args ...string) *testService { return startChanged(t, nil, args...) }

// startChanged is startService with a service that is changed before it serves.
func startChanged(t testing.TB, change func(*service), args ...string) *testService {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "relayd")
	conf, err := parse(append([]string{"relayd", "-socket", socket, "-loops", "2"}, args...), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	out := &testlog.Log{}
	log, closeLog := maillog.NewLog(out).Queue()
	sockets := &sockets{}
	if err := sockets.listen(conf, log); err != nil {
		t.Fatal(err)
	}
	s, err := newService(conf, sockets, log)
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(s)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		err := s.serve(ctx, make(chan os.Signal))
		closeLog()
		done <- err
	}()
	stop := sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return &testService{s, socket, stop, out}
}

func info(user string) relay.Info {
	return relay.Info{User: user, Protocol: "IMAP", RemoteIP: "::ffff:192.0.2.7", RemotePort: "4711",
		Mailhost: "mail1"}
}

// handOver gives a session to a relayd.
func handOver(socket string, client, mailhost net.Conn, i relay.Info, first string) error {
	s := &relay.Session{Client: client, Mailhost: mailhost, Info: i, First: []byte(first)}
	return (&handoff.Client{Socket: socket}).Carry(context.Background(), s)
}

// join hands a pair over, as a front end does. The session is the only one of a user with the test's name.
func (s *testService) join(t testing.TB, client, mailhost relaytest.Conn, halfClose time.Duration) func() {
	i := info(t.Name())
	x := &relay.Session{Client: client, Mailhost: mailhost, Info: i, HalfClose: halfClose}
	if err := (&handoff.Client{Socket: s.socket}).Carry(context.Background(), x); err != nil {
		t.Fatal(err)
	}
	client.Close()
	mailhost.Close()
	return func() {
		for !strings.Contains(s.log.String(), "user="+i.User+",") {
			time.Sleep(time.Millisecond)
		}
	}
}

func TestRelayd(t *testing.T) {
	s := startService(t)
	relaytest.Run(t, relaytest.Kinds(), relaytest.Kinds(), s.join)
}

func TestRelaydTLS(t *testing.T) {
	s := startService(t)
	tcp := relaytest.Kinds()[:1]
	relaytest.Run(t, relaytest.TLSKinds(), tcp, s.join)
	relaytest.Run(t, relaytest.TLSKinds()[:2], []relaytest.Kind{relaytest.TLSMailhost(tls.VersionTLS13)}, s.join)
	relaytest.Run(t, tcp, []relaytest.Kind{relaytest.TLSMailhost(tls.VersionTLS12)}, s.join)
}

func TestRelaydHalfClosed(t *testing.T) {
	s := startService(t)
	t.Run("all", func(t *testing.T) { // the service outlives its sessions
		tcp := relaytest.Kinds()[:1]
		relaytest.HalfClosed(t, tcp, tcp, s.join)
		relaytest.HalfClosed(t, relaytest.TLSKinds()[:1], tcp, s.join)
	})
}

// The client reads the answer to its login before anything of the mailhost's, and it is not counted among
// the mailhost's bytes.
func TestEndLine(t *testing.T) {
	s := startService(t)
	nc, fc := relaytest.TCP(t, 0)
	nm, fm := relaytest.TCP(t, 0)
	_, _ = io.WriteString(fm, "* early\r\n")
	if err := handOver(s.socket, nc, nm, info("ann"), "a OK\r\n"); err != nil {
		t.Fatal(err)
	}
	nc.Close()
	nm.Close()
	expectText(t, fc, "a OK\r\n* early\r\n")
	_, _ = io.WriteString(fc, "12345")
	fc.Close()
	_, _ = io.Copy(io.Discard, fm)
	fm.Close()
	waitFor(t, func() bool { return s.engine.Totals().Counted == 0 })
	s.stop()
	want := fmt.Sprintf("INFO: relayd: version %s listens at %s\n", version.Version, s.socket) +
		"INFO: LOGOUT, user=ann, ip=[::ffff:192.0.2.7], port=[4711], mailhost=mail1, " +
		"rcvd=5, sent=9, time=0, protocol=IMAP\n"
	// A busy machine may take a second.
	if got := regexp.MustCompile(`time=\d+`).ReplaceAllString(s.log.String(), "time=0"); got != want {
		t.Errorf("log is %q, want %q", got, want)
	}
}

// hand makes a pair and hands it over; what is returned are its far ends.
func (s *testService) hand(t *testing.T, i relay.Info) (fc, fm relaytest.Conn, err error) {
	nc, fc := relaytest.TCP(t, 0)
	nm, fm := relaytest.TCP(t, 0)
	defer nc.Close()
	defer nm.Close()
	return fc, fm, handOver(s.socket, nc, nm, i, "")
}

// TestLimits: each limit refuses, and frees its place with the session.
func TestLimits(t *testing.T) {
	other := info("bob")
	other.RemoteIP = "::ffff:192.0.2.8"
	for _, tc := range []struct {
		flag      string
		same      relay.Info // the third session, which is refused
		different relay.Info // one that is not
	}{
		{"-max", other, relay.Info{}},
		{"-maxperip", relay.Info{User: "bob", Protocol: "POP3", RemoteIP: info("").RemoteIP}, other},
		{"-maxperuser", relay.Info{User: "ann", RemoteIP: "2001:db8::1"}, other},
	} {
		s := startService(t, tc.flag, "2")
		var far []relaytest.Conn
		for range 2 {
			fc, fm, err := s.hand(t, info("ann"))
			if err != nil {
				t.Fatal(err)
			}
			far = append(far, fc, fm)
		}
		_, _, err := s.hand(t, tc.same)
		if !errors.Is(err, relay.ErrLimit) || errors.Is(err, relay.ErrUnavailable) {
			t.Errorf("%s: %v", tc.flag, err)
		}
		if tc.different.User != "" {
			if _, _, err := s.hand(t, tc.different); err != nil {
				t.Errorf("%s: %v", tc.flag, err)
			}
		}
		for _, c := range far {
			c.Close()
		}
		waitFor(t, func() bool {
			_, _, err := s.hand(t, tc.same)
			return err == nil
		})
		waitFor(t, func() bool { return strings.Contains(s.log.String(), "WARN: relayd: session refused, user=") })
	}
}

// TestLimitTLS: a session with TLS that a limit refuses can still be told so, and be taken later.
func TestLimitTLS(t *testing.T) {
	s := startService(t, "-maxperuser", "1")
	for _, kind := range relaytest.TLSKinds() {
		fc, fm, err := s.hand(t, info("ann"))
		if err != nil {
			t.Fatal(err)
		}
		nc, client := kind.Make(t)
		nm, mailhost := relaytest.TCP(t, 0)
		hand := func() error {
			return handOver(s.socket, nc, nm, info("ann"), "a OK\r\n")
		}
		for range 2 {
			if err := hand(); !errors.Is(err, relay.ErrLimit) {
				t.Fatal(err)
			}
			_, _ = io.WriteString(nc, "to the client")
			expectText(t, client, "to the client")
			_, _ = io.WriteString(client, "from the client")
			expectText(t, nc, "from the client")
		}
		fc.Close()
		fm.Close()
		waitFor(t, func() bool { return s.engine.Totals().Counted == 0 })
		if err := hand(); err != nil {
			t.Fatal(err)
		}
		expectText(t, client, "a OK\r\n")
		relaytest.Exchange(t, mailhost, client)
		if n := s.engine.Totals().Counted; n != 1 {
			t.Errorf("%d places", n)
		}
		client.Close()
		mailhost.Close()
		waitFor(t, func() bool { return s.engine.Totals().Counted == 0 })
	}
}

// TestSilentCaller: somebody who says nothing, or not at once, keeps nobody waiting, and is served when it
// does.
func TestSilentCaller(t *testing.T) {
	s := startService(t)
	var silent []*net.UnixConn
	for range 20 {
		c, err := net.Dial("unixpacket", s.socket)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		silent = append(silent, c.(*net.UnixConn))
	}
	if _, _, err := s.hand(t, info("ann")); err != nil {
		t.Fatal(err)
	}
	for _, c := range silent {
		_ = c.SetDeadline(time.Now().Add(30 * time.Second))
		if err := handoff.Send(c, &handoff.Message{Verb: "CARRY"}); err != nil {
			t.Fatal(err)
		}
		if m, _, err := handoff.Receive(c); err != nil || m.Verb != "FAIL" {
			t.Errorf("%v, %v", m, err)
		}
	}
}

// TestNotAcknowledged: a session whose front end cannot be told that it is taken is not touched, so that
// the front end still has it.
func TestNotAcknowledged(t *testing.T) {
	s := startService(t)
	nc, fc := relaytest.TCP(t, 0)
	nm, fm := relaytest.TCP(t, 0)
	_, _ = io.WriteString(fc, "from the client")
	_, _ = io.WriteString(fm, "from the mailhost")
	c, err := net.Dial("unixpacket", s.socket)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.(*net.UnixConn).CloseRead(); err != nil {
		t.Fatal(err)
	}
	m := &handoff.Message{Verb: "CARRY", Body: []byte("a OK\r\n"),
		Fields: map[string]string{"USER": "ann", "PROTOCOL": "IMAP", "IP": "x",
			"PORT": "1", "MAILHOST": "m", "START": "1", "KEEPALIVE": "0", "HALFCLOSE": "0", "FIRST": "6",
			"VERSION": handoff.Version}}
	rawClient, _ := nc.SyscallConn()
	rawMailhost, _ := nm.SyscallConn()
	_ = rawClient.Control(func(client uintptr) {
		_ = rawMailhost.Control(func(mailhost uintptr) {
			err = handoff.Send(c.(*net.UnixConn), m, int(client), int(mailhost))
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { // it hangs up
		return errors.Is(handoff.Send(c.(*net.UnixConn), &handoff.Message{Verb: "HELLO"}), unix.EPIPE)
	})
	waitFor(t, func() bool { return s.engine.Totals().Counted == 0 })
	expectText(t, nc, "from the client")
	expectText(t, nm, "from the mailhost")
	if taken := s.engine.Totals().Taken; taken != 0 {
		t.Errorf("%d sessions taken", taken)
	}
	relaytest.Exchange(t, nc, fc)
	relaytest.Exchange(t, nm, fm)
}

// TestBadCallers: nonsense is answered or dropped, leaves no file descriptor open, takes up no slot, and
// hurts nobody.
func TestBadCallers(t *testing.T) {
	s := startService(t)
	files := testprocess.OpenFiles(t)
	good := map[string]string{"USER": "ann", "PROTOCOL": "IMAP", "IP": "x", "PORT": "1", "MAILHOST": "m",
		"START": "1", "KEEPALIVE": "0", "HALFCLOSE": "0", "FIRST": "0",
		"VERSION": handoff.Version}
	without := func(name, value string) map[string]string {
		m := map[string]string{}
		for k, v := range good {
			m[k] = v
		}
		m[name] = value
		return m
	}
	nc, _ := relaytest.TCP(t, 0)
	raw, _ := nc.SyscallConn()
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	before := testprocess.OpenFiles(t)
	_ = raw.Control(func(fd uintptr) {
		for _, tc := range []struct {
			m    handoff.Message
			fds  []int
			want string
		}{
			{handoff.Message{Verb: "HELLO"}, nil, "FAIL"},
			{handoff.Message{Verb: "START"}, nil, "FAIL"},
			// What front ends of earlier releases say.
			{handoff.Message{Verb: "SESSION", Fields: good}, []int{int(fd), int(fd)}, "FAIL"},
			{handoff.Message{Verb: "TAKE", Fields: good}, []int{int(fd), int(fd)}, "FAIL"},
			{handoff.Message{Verb: "PLACE", Fields: good}, nil, "FAIL"},
			{handoff.Message{Verb: "ENCRYPT", Fields: good}, []int{int(fd), int(fd)}, "FAIL"},
			{handoff.Message{Verb: "CARRY", Fields: without("VERSION", "")}, []int{int(fd), int(fd)}, "FAIL"},
			// Of a later version.
			{handoff.Message{Verb: "CARRY", Fields: without("VERSION", "3")}, []int{int(fd), int(fd)}, "FAIL"},
			{handoff.Message{Verb: "CARRY", Fields: good}, nil, "FAIL"},
			{handoff.Message{Verb: "CARRY", Fields: good}, []int{int(fd)}, "FAIL"},
			{handoff.Message{Verb: "CARRY", Fields: good}, []int{int(fd), int(fd), int(fd)}, "FAIL"},
			{handoff.Message{Verb: "CARRY", Fields: good}, []int{int(fd), int(null.Fd())}, "FULL"},
			{handoff.Message{Verb: "CARRY", Fields: without("START", "x")}, []int{int(fd), int(fd)}, "FAIL"},
			{handoff.Message{Verb: "CARRY", Fields: without("KEEPALIVE", "-1")}, []int{int(fd), int(fd)}, "FAIL"},
			{handoff.Message{Verb: "CARRY", Fields: without("USER", "a\x1bb")}, []int{int(fd), int(fd)}, "FAIL"},
			{handoff.Message{Verb: "CARRY", Fields: without("FIRST", "")}, []int{int(fd), int(fd)}, "FAIL"},
			{handoff.Message{Verb: "CARRY", Fields: without("FIRST", "2"), Body: []byte("x")},
				[]int{int(fd), int(fd)}, "FAIL"},
			{handoff.Message{Verb: "CARRY", Fields: without("CLIENT_TLS", "00")}, []int{int(fd), int(fd)}, "FAIL"},
			{handoff.Message{Verb: "HELLO"}, []int{int(fd), int(fd)}, "FAIL"},
		} {
			c, err := net.Dial("unixpacket", s.socket)
			if err != nil {
				t.Fatal(err)
			}
			_ = c.SetDeadline(time.Now().Add(30 * time.Second))
			if err := handoff.Send(c.(*net.UnixConn), &tc.m, tc.fds...); err != nil {
				t.Fatal(err)
			}
			if m, _, err := handoff.Receive(c.(*net.UnixConn)); err != nil || m.Verb != tc.want {
				t.Errorf("%v: %v, %v", tc.m, m, err)
			}
			c.Close()
		}
	})
	c, err := net.Dial("unixpacket", s.socket)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = c.Write([]byte("garbage"))
	c.Close()
	waitFor(t, func() bool { return testprocess.OpenFiles(t) <= before && s.engine.Totals().Counted == 0 })
	if files == 0 {
		t.Fatal("no descriptors counted")
	}
	nc2, fc := relaytest.TCP(t, 0)
	nm, fm := relaytest.TCP(t, 0)
	wait := s.join(t, nc2, nm, time.Minute)
	fc.Close()
	fm.Close()
	wait()
}

func TestAdministration(t *testing.T) {
	s := startService(t)
	_, _, err := ask(s.socket, "who")
	if err != nil {
		t.Fatal(err)
	}
	var far []relaytest.Conn
	for _, user := range []string{"ann", "bob", "ann"} {
		nc, fc := relaytest.TCP(t, 0)
		nm, fm := relaytest.TCP(t, 0)
		i := info(user)
		i.Start = time.Unix(1_700_000_000+int64(len(far)), 0)
		if err := handOver(s.socket, nc, nm, i, ""); err != nil {
			t.Fatal(err)
		}
		nc.Close()
		nm.Close()
		far = append(far, fc, fm)
	}
	waitFor(t, func() bool { return s.engine.Totals().Sessions == 3 })
	out, code, err := ask(s.socket, "who")
	want := "ann\t[::ffff:192.0.2.7]:4711\tIMAP\tmail1\t2023-11-14T22:13:20Z\t0\t0\n"
	if err != nil || code != 0 || !strings.HasPrefix(out, want) || strings.Count(out, "\n") != 3 {
		t.Errorf("who: %d %v\n%s", code, err, out)
	}
	if out, _, _ := ask(s.socket, "kick", "ann"); out != "2\n" {
		t.Errorf("kick: %q", out)
	}
	if _, err := far[0].Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("a kicked client sees %v", err)
	}
	if out, _, _ := ask(s.socket, "kick", "192.0.2.7"); out != "1\n" {
		t.Errorf("kick by address: %q", out)
	}
	for _, line := range []string{"mailproxy_relayd_sessions 0\n", "mailproxy_relayd_sessions_taken_total 3\n",
		"mailproxy_relayd_sessions_broken_total 3\n"} {
		if !testlog.Eventually(func() bool {
			out, _, _ = ask(s.socket, "stats")
			return strings.Contains(out, line)
		}) {
			t.Errorf("no %q in stats:\n%s", line, out)
		}
	}
	if _, code, _ := ask(filepath.Join(t.TempDir(), "none"), "who"); code != exitSystem {
		t.Errorf("no relayd: exit status %d", code)
	}
}

func TestMetrics(t *testing.T) {
	path := filepath.Join(t.TempDir(), "metrics")
	startService(t, "-metrics", "unix:"+path)
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _ = io.WriteString(c, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
	b, err := io.ReadAll(c)
	if err != nil || !strings.HasPrefix(string(b), "HTTP/1.1 200 OK\r\n") ||
		!strings.Contains(string(b), "\nmailproxy_relayd_sessions 0\n") {
		t.Errorf("%v\n%s", err, b)
	}
}

func TestArguments(t *testing.T) {
	for _, args := range [][]string{{"-bad"}, {"kick"}, {"kick", "a", "b"}, {"dance"}, {"who", "x"},
		{"-max", "-1"}, {"-loops", "0"},
		{"-allow", "no such user"}, {"-max", "many"}, {"-tls"}} {
		var stderr bytes.Buffer
		code := runWith(io.Discard, &stderr, args...)
		if code != exitUsage || stderr.Len() == 0 {
			t.Errorf("%q: %d %s", args, code, stderr.String())
		}
	}
	var stderr bytes.Buffer
	public := []string{"-socket", filepath.Join(t.TempDir(), "s"), "-metrics", "192.0.2.1:80"}
	if code := runWith(io.Discard, &stderr, public...); code != exitSystem {
		t.Errorf("metrics for the world: %d %s", code, stderr.String())
	}
}

func runWith(stdout, stderr io.Writer, args ...string) int {
	args = append([]string{"relayd"}, args...)
	return run(context.Background(), args, noVariables, stdout, stderr, maillog.NewLog(stderr))
}

// noVariables is an empty environment.
func noVariables(string) string { return "" }

func ask(socket string, args ...string) (string, int, error) {
	var out, stderr bytes.Buffer
	code := runWith(&out, &stderr, append([]string{"-socket", socket}, args...)...)
	if code != 0 {
		return out.String(), code, errors.New(stderr.String())
	}
	return out.String(), code, nil
}

func waitFor(t *testing.T, ok func() bool) {
	t.Helper()
	if !testlog.Eventually(ok) {
		t.Fatal("it does not happen")
	}
}

// BenchmarkHandOver is both sides of taking a session over and of ending it.
func BenchmarkHandOver(b *testing.B) {
	s := startService(b)
	for b.Loop() {
		nc, fc := relaytest.Unix(b, 0)
		nm, fm := relaytest.Unix(b, 0)
		s.join(b, nc, nm, time.Minute)
		fc.Close()
		fm.Close()
	}
}

func expectText(t *testing.T, c relaytest.Conn, text string) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(30 * time.Second))
	buf := make([]byte, len(text))
	if _, err := io.ReadFull(c, buf); err != nil || string(buf) != text {
		t.Fatalf("read %q, %v", buf, err)
	}
}
