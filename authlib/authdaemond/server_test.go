package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mailproxy/authlib"
	"mailproxy/internal/unixsocket"

	"mailproxy/tests/testlog"
)

func TestModulesInOrder(t *testing.T) {
	down := errors.New("database is down")
	var asked []string
	var mu sync.Mutex
	note := func(name string, err error) func(context.Context, string) error {
		return func(_ context.Context, user string) error {
			mu.Lock()
			defer mu.Unlock()
			asked = append(asked, name)
			if user == "crash" && name == "b" {
				panic("boom")
			}
			if err != nil && strings.HasPrefix(user, "down") {
				return err
			}
			return nil
		}
	}
	a, log := fakeAsker(t, "DEFAULTOPTIONS=\"own=0,more=2\"",
		&fake{name: "a", users: []string{"ann"}, do: note("a", nil)},
		&fake{name: "b", users: []string{"ann", "bob"}, do: note("b", down)},
		&fake{name: "c", users: []string{"cat", "down"}, do: note("c", nil)})
	now := time.Now()
	a.now = func() time.Time { return now } // the log says for how long a module was down
	s := start(t, a, nil)
	for _, test := range []struct{ user, password, want, asked string }{
		{"ann", "ann", "/a own=1,more=2", "a"},
		{"ann", "x", "refused", "a b c"},
		{"bob", "bob", "/b own=1,more=2", "a b"},
		{"cat", "cat", "/c own=1,more=2", "a b c"},
		{"nobody", "x", "refused", "a b c"},
		// A module that cannot tell ends it: the next must not be asked, nor the client be told that the
		// password is wrong.
		{"down", "down", "temporary", "a b"},
		{"down2", "x", "temporary", "a b"},
		{"bob", "bob", "/b own=1,more=2", "a b"},
		{"crash", "x", "temporary", "a b"},
		{"ann", "ann", "/a own=1,more=2", "a"},
	} {
		mu.Lock()
		asked = nil
		mu.Unlock()
		got := s.login(test.user, test.password)
		mu.Lock()
		if order := strings.Join(asked, " "); got != test.want || order != test.asked {
			t.Errorf("%s: %s, asked %s; want %s, %s", test.user, got, order, test.want, test.asked)
		}
		mu.Unlock()
	}
	log.has(t, "ERR: panic in a connection") // written when the connection is closed already
	text := log.String()
	for want, times := range map[string]int{
		"ERR: b: cannot answer, clients are told to come back later: database is down\n": 1,
		"INFO: b: answers again after 0 s, 2 requests failed\n":                          1,
		"ERR: panic in a connection, which ends: boom | goroutine ":                      1,
	} {
		if strings.Count(text, want) != times {
			t.Errorf("log has not %d times %q:\n%s", times, want, text)
		}
	}
	for module, want := range map[string]string{"": "/b", "b": "/b", "c": "refused", "unknown": "refused",
		"a": "refused"} {
		account, err := s.Lookup(context.Background(), &authlib.LookupRequest{Module: module, Service: "imap",
			User: "bob"})
		got := "refused"
		if err == nil {
			got = account.Home
		}
		if got != want {
			t.Errorf("lookup by %q: %s, %v", module, got, err)
		}
	}
	if err := s.ChangePassword(context.Background(), &authlib.PasswordRequest{Service: "imap", User: "cat",
		NewPassword: "x"}); err != nil {
		t.Error(err)
	}
	if err := s.ChangePassword(context.Background(), &authlib.PasswordRequest{Service: "imap", User: "nobody",
		NewPassword: "x"}); !errors.Is(err, authlib.ErrRefused) {
		t.Error(err)
	}
	var names []string
	err := s.Enumerate(context.Background(), func(account *authlib.Account) error {
		names = append(names, account.Address+string(account.Options))
		return nil
	})
	// c's user "down" is no trouble: c is not b.
	want := "annown=1,more=2 annown=1,more=2 bobown=1,more=2 catown=1,more=2 downown=1,more=2"
	if strings.Join(names, " ") != want || err != nil {
		t.Errorf("%s, %v", names, err)
	}
}

// TestUnusableAccount: an account with a mistake in its data is no outage and no wrong password; the log
// names it once a minute.
func TestUnusableAccount(t *testing.T) {
	a, log := fakeAsker(t, "",
		&fake{name: "a", users: []string{"ann"}, do: func(_ context.Context, user string) error {
			if user != "ann" {
				return authlib.Unusable(user, "uid=%q: %v", "5001x", authlib.ErrID)
			}
			return nil
		}}, &fake{name: "b", users: []string{"bad"}})
	began := time.Now()
	var passed atomic.Int64
	a.now = func() time.Time { return began.Add(time.Duration(passed.Load())) }
	s := start(t, a, nil)
	const line = `WARN: a: account "bad" cannot be used: uid="5001x": not a decimal number ` +
		"from 1 to 4294967294\n"
	for minute := 1; minute <= 2; minute++ {
		for range 3 {
			for user, want := range map[string]string{"bad": "temporary", "ann": "/a own=1"} {
				if got := s.login(user, user); got != want {
					t.Errorf("%s: %s, want %s", user, got, want)
				}
			}
		}
		if got := strings.Count(log.String(), line); got != minute ||
			strings.Contains(log.String(), "cannot answer") {
			t.Errorf("minute %d: %d lines:\n%s", minute, got, log)
		}
		passed.Add(int64(complaintPause))
	}
	const most = 1000 // a minute
	for i := range 2 * most {
		s.login(fmt.Sprint("bad", i), "x")
	}
	if got := strings.Count(log.String(), "cannot be used"); got != most+2 {
		t.Errorf("%d lines for %d accounts, want %d", got, 2*most+1, most+2)
	}
}

// TestEnumerateFails: a list that is cut short does not look complete.
func TestEnumerateFails(t *testing.T) {
	a, _ := fakeAsker(t, "", &fake{name: "a", users: []string{"ann", "down"},
		do: func(_ context.Context, user string) error {
			if user == "down" {
				return errors.New("down")
			}
			return nil
		}})
	s := start(t, a, nil)
	n := 0
	err := s.Enumerate(context.Background(), func(*authlib.Account) error { n++; return nil })
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%d accounts, %v", n, err)
	}
}

func TestEnumerateLarge(t *testing.T) {
	f := &fake{name: "a"}
	for i := range 5000 {
		f.users = append(f.users, fmt.Sprintf("user%d@%s", i, strings.Repeat("x", 200)))
	}
	a, _ := fakeAsker(t, "", f)
	s := start(t, a, nil)
	n := 0
	if err := s.Enumerate(context.Background(), func(*authlib.Account) error {
		if n++; n == 1 {
			// A reader that is late: the daemon has filled the socket's buffer and waits, which cannot be
			// seen from here.
			time.Sleep(50 * time.Millisecond)
		}
		return nil
	}); n != 5000 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	none, _ := fakeAsker(t, "")
	c := start(t, none, nil).dial(t)
	_, _ = io.WriteString(c, "ENUMERATE\n")
	if got, err := io.ReadAll(c); string(got) != ".\n" || err != nil {
		t.Errorf("no module: %q, %v", got, err)
	}
}

// TestWire sends requests in odd ways.
func TestWire(t *testing.T) {
	a, _ := fakeAsker(t, "", &fake{name: "a", users: []string{"ann"}})
	s := start(t, a, nil)
	good := "AUTH 19\nimap\nlogin\nann\nann\n"
	for _, test := range []struct{ send, want string }{
		{good, "ADDRESS=ann"},
		{"TCPREMOTEIP=1.2.3.4\n" + good, "ADDRESS=ann"},
		{good + "trailing", "ADDRESS=ann"},
		{"PRE . imap ann\n", "ADDRESS=ann"},
		{"PRE . imap nobody\n", "FAIL\n"},
		{"PRE x imap ann\n", "FAIL\n"},
		{"AUTH 13\nimap\nfoo\na\nb\n", "FAIL\n"},
		{"AUTH 22\nimap\ncram-md5\n***\n***\n", "FAIL\n"},
		{"PASSWD imap\tann\tann\tx\n", "OK\n"},
		{"ENUMERATE\n", "# a\n\nann\t1\t1\t/a\t\town=1\n.\n"},
		{"HELLO\n", ""}, {"\n", ""}, {"AUTH 8192\n", ""}, {"AUTH x\n", ""}, {strings.Repeat("x", 9000), ""},
	} {
		for _, step := range []int{len(test.send), 1, 7} {
			c := s.dial(t)
			for rest := test.send; rest != ""; {
				n := min(step, len(rest))
				if _, err := io.WriteString(c, rest[:n]); err != nil {
					break // the daemon knows enough
				}
				rest = rest[n:]
				if step == 1 && len(test.send) < 100 {
					time.Sleep(100 * time.Microsecond) // the pace is what is tested
				}
			}
			got, _ := io.ReadAll(c)
			if !strings.Contains(string(got), test.want) || test.want == "" && len(got) > 0 {
				t.Errorf("%.40q by %d: %q", test.send, step, got)
			}
		}
	}
}

// TestNothingStays: no buffer has anything of a request or an answer when it is over, wherever in it a
// password stood and in whatever pieces it came.
func TestNothingStays(t *testing.T) {
	options := "o=" + strings.Repeat("x", 3000)
	a, _ := fakeAsker(t, "", &fake{name: "a", users: []string{"ann"}, options: options})
	var mu sync.Mutex
	var all []*[]byte
	s := start(t, a, func(s *server) {
		s.buffers.New = func() any {
			b := make([]byte, 0, authlib.MaxRequest)
			mu.Lock()
			defer mu.Unlock()
			all = append(all, &b)
			return &b
		}
	})
	auth := func(user, password string) string {
		body := "imap\nlogin\n" + user + "\n" + password + "\n"
		return fmt.Sprintf("AUTH %d\n%s", len(body), body)
	}
	for request, answer := range map[string]string{
		auth("ann", "ann"): "PASSWD2=ann\n", auth(strings.Repeat("n", 5000), "secret"): "FAIL\n",
	} {
		for _, step := range []int{len(request), 3000, 1} {
			c, err := net.Dial("unix", s.path)
			if err != nil {
				t.Fatal(err)
			}
			say(t, bufio.NewReadWriter(bufio.NewReader(c), bufio.NewWriterSize(c, 0)), request, step)
			if got, err := io.ReadAll(c); err != nil || !strings.Contains(string(got), answer) {
				t.Fatalf("%.60q, %v, want %q", got, err, answer)
			}
			c.Close()
			p := s.dialPersistent(t)
			readLine(p)
			say(t, p, frame(1, request), step)
			for line := readLine(p); line != answer; line = readLine(p) {
				if line == "" {
					t.Fatalf("persistent: no %q", answer)
				}
			}
		}
	}
	s.stop()
	if !testlog.Eventually(func() bool { return s.underWay.Load() == 0 && s.connections.Load() == 0 }) {
		t.Fatal("requests are under way")
	}
	mu.Lock()
	defer mu.Unlock()
	for _, b := range all {
		if n := len(bytes.TrimRight((*b)[:cap(*b)], "\x00")); n > 0 {
			t.Errorf("%d bytes are left of %d", n, cap(*b))
		}
	}
	if len(all) == 0 {
		t.Error("no buffers")
	}
}

// TestSilent: clients that say nothing occupy nothing but their file descriptors, and are let go.
func TestSilent(t *testing.T) {
	a, _ := fakeAsker(t, "daemons=1", &fake{name: "a", users: []string{"ann"}})
	many := func(s *started) (conns []net.Conn) {
		for i := range 400 {
			c := s.dial(t)
			if i%2 == 0 {
				_, _ = io.WriteString(c, "AUTH 20\nimap\n")
			}
			conns = append(conns, c)
		}
		return conns
	}
	// If a login waited for one of them, the client would give up before this daemon lets it go.
	s := start(t, a, func(s *server) { s.silent = time.Hour })
	silent := many(s)
	for range 20 {
		if got := s.login("ann", "ann"); got != "/a own=1" {
			t.Fatal(got)
		}
	}
	for _, c := range silent {
		c.Close()
	}
	s = start(t, a, func(s *server) { s.silent = 100 * time.Millisecond })
	for _, c := range many(s) {
		_ = c.SetReadDeadline(time.Now().Add(testlog.Patience))
		if _, err := bufio.NewReader(c).ReadByte(); err != io.EOF {
			t.Fatalf("a silent client is still there: %v", err)
		}
	}
	if !testlog.Eventually(func() bool { return s.waiting.Load() == 0 }) {
		t.Errorf("%d still waited for", s.waiting.Load())
	}
}

// TestOverload: slots and queue are bounded; beyond, a temporary failure at once.
func TestOverload(t *testing.T) {
	release := make(chan struct{})
	var inside, most atomic.Int64
	a, log := fakeAsker(t, "daemons=1",
		&fake{name: "a", users: []string{"ann"}, do: func(context.Context, string) error {
			raise(&most, inside.Add(1))
			<-release
			inside.Add(-1)
			return nil
		}})
	s := start(t, a, nil)
	const room = slotsPerDaemon * (1 + queuePerSlot)
	answers := make(chan string, 2*room)
	for range room + 30 {
		go func() { answers <- s.login("ann", "ann") }()
	}
	for range 30 {
		select {
		case got := <-answers:
			if got != "temporary" {
				t.Errorf("got %s", got)
			}
		case <-time.After(30 * time.Second):
			t.Fatal("no temporary failure")
		}
	}
	close(release)
	for range room {
		if got := <-answers; got != "/a own=1" {
			t.Errorf("got %s", got)
		}
	}
	if most.Load() != slotsPerDaemon {
		t.Errorf("%d at once", most.Load())
	}
	log.has(t, "ERR: more than 136 requests under way and waiting")
	if strings.Count(log.String(), "more than") != 1 {
		t.Errorf("more than one line:\n%s", log)
	}
}

// TestRequestTime: a module that does not come back is given up before the client gives up.
func TestRequestTime(t *testing.T) {
	a, _ := fakeAsker(t, "", &fake{name: "a", users: []string{"ann"},
		do: func(ctx context.Context, _ string) error {
			<-ctx.Done()
			return ctx.Err()
		}})
	s := start(t, a, func(s *server) { s.request = 50 * time.Millisecond })
	if got := s.login("ann", "ann"); got != "temporary" {
		t.Errorf("got %s", got)
	}
	if requestTime+time.Second > authlib.DefaultReadTimeout {
		t.Error("clients give up before the daemon does")
	}
}

func TestReloadAndDrain(t *testing.T) {
	release := make(chan struct{})
	slow := &fake{name: "slow", users: []string{"ann"}, closed: make(chan struct{}),
		do: func(context.Context, string) error {
			<-release
			return nil
		}}
	old, _ := fakeAsker(t, "", slow)
	s := start(t, old, nil)
	first := make(chan string)
	go func() { first <- s.login("ann", "ann") }()
	if !testlog.Eventually(func() bool { return len(s.now.slots) > 0 }) {
		t.Fatal("no request is served")
	}
	next, _ := fakeAsker(t, "DEFAULTOPTIONS=new=1", &fake{name: "b", users: []string{"bob"}})
	s.use(next)
	if got := s.login("bob", "bob"); got != "/b own=1,new=1" {
		t.Errorf("after the reload: %s", got)
	}
	select {
	case <-slow.closed:
		t.Error("a module was closed under a request")
	case <-time.After(20 * time.Millisecond):
	}
	s.stop()
	if !testlog.Eventually(func() bool {
		c, err := net.Dial("unix", s.path)
		if err == nil {
			c.Close()
		}
		return err != nil
	}) {
		t.Error("it still listens")
	}
	close(release)
	if got := <-first; got != "/slow own=1" {
		t.Errorf("the request under way: %s", got)
	}
	<-slow.closed
}

func TestListen(t *testing.T) {
	dir := t.TempDir() + "/new"
	socks := listening(t, dir)
	for _, name := range []string{"/socket", "/socket.persistent"} {
		if info, err := os.Stat(dir + name); err != nil || info.Mode() != os.ModeSocket|0o777 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o750 {
		t.Errorf("directory: %v, %v", info.Mode(), err)
	}
	if err := (&sockets{}).listen(dir, nil); !errors.Is(err, unixsocket.ErrInUse) {
		t.Errorf("second daemon: %v", err)
	}
	// The socket stays behind when the daemon is killed.
	hangUp := func(s *sockets) { s.clients[0].Close(); s.persistent[0].Close() }
	hangUp(socks)
	socks = listening(t, dir)
	hangUp(socks)
	socks.close()
	if left, err := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("not removed: %v, %v", left, err)
	}
	// Another daemon's socket stays.
	socks = listening(t, dir)
	hangUp(socks)
	defer hangUp(listening(t, dir))
	socks.close()
	if _, err := os.Stat(dir + "/socket"); err != nil {
		t.Error("another daemon's socket was removed")
	}
}
