package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mailproxy/authlib/password"
	"mailproxy/internal/maillog"
	"mailproxy/tests/testlog"
)

// stored is a module's hashes by user, which a test can change. The password is the user's name.
type stored struct {
	mu     sync.Mutex
	hashes map[string]string
}

func (s *stored) set(user, hash string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hashes[user] = hash
}

// check is a fake's do.
func (s *stored) check(ctx context.Context, user string) error {
	s.mu.Lock()
	hash := s.hashes[user]
	s.mu.Unlock()
	return password.Check(ctx, user, hash, user)
}

// slowHash looks like bcrypt of a name.
func slowHash(name string) string { return "$2b$10$" + name }

// TestFlood: while wrong passwords have every processor compute slow hashes, and more of them wait than there
// are slots, cheap and remembered logins are answered before a single one of those hashes is done.
func TestFlood(t *testing.T) {
	db := &stored{hashes: map[string]string{"known": slowHash("known"), "late": slowHash("late")}}
	cheap, err := password.Hash("{SHA}", "cheap")
	if err != nil {
		t.Fatal(err)
	}
	db.set("cheap", cheap)
	const flood = 100
	for i := range 2 * flood {
		db.set(fmt.Sprint("flood", i), slowHash("flood"))
	}
	users := []string{"cheap", "known", "late"}
	a, log := fakeAsker(t, "daemons=1", &fake{name: "a", users: users, do: db.check})
	release := make(chan struct{})
	var computing, done, most atomic.Int64
	s := start(t, a, func(s *server) {
		s.hashes.remember(time.Hour)
		s.hashes.verify = func(hash, clear string) (bool, error) {
			if !password.Slow(hash) {
				return password.Verify(hash, clear)
			}
			if hash == slowHash("flood") {
				defer done.Add(1)
				defer computing.Add(-1)
				raise(&most, computing.Add(1))
				<-release
			}
			return hash == slowHash(clear), nil
		}
	})
	for _, keep := range []int{0, 4} { // on both sockets
		s.Keep = keep
		if got := s.login("known", "known"); got != "/a own=1" {
			t.Fatal(got)
		}
	}
	answers := make(chan string, 2*flood)
	attack := func(i int) { answers <- s.login(fmt.Sprint("flood", i), "wrong") }
	for i := range flood {
		go attack(i)
	}
	if !testlog.Eventually(func() bool { return s.hashes.waiting.Load() == flood }) {
		t.Fatalf("%d wrong passwords are under way", s.hashes.waiting.Load())
	}
	for range 20 {
		for _, user := range []string{"cheap", "known"} {
			if got := s.login(user, user); got != "/a own=1" {
				t.Errorf("%s: %s", user, got)
			}
		}
	}
	processors := int64(cap(s.hashes.processors))
	if done.Load() != 0 || most.Load() != processors {
		t.Errorf("%d hashes were waited for, %d at once on %d processors", done.Load(), most.Load(), processors)
	}
	// The queue is bounded: what is beyond it comes back later, and no module is blamed.
	for i := range flood {
		go attack(flood + i)
	}
	beyond := 2*flood - slotsPerDaemon*queuePerSlot - int(processors)
	for range beyond {
		if got := <-answers; got != "temporary" {
			t.Errorf("beyond the queue: %s", got)
		}
	}
	log.has(t, "WARN: too many slow password hashes to compute: some logins are told to come back later; ")
	if strings.Count(log.String(), "too many slow") != 1 || strings.Contains(log.String(), "cannot answer") {
		t.Errorf("log:\n%s", log)
	}
	close(release)
	for range 2*flood - beyond {
		if got := <-answers; got != "refused" {
			t.Errorf("a wrong password: %s", got)
		}
	}
	if got := s.login("late", "late"); got != "/a own=1" {
		t.Errorf("after the flood: %s", got)
	}
	// A client has its answer a moment before its slot is free.
	if !testlog.Eventually(func() bool {
		return s.hashes.waiting.Load() == 0 && len(s.hashes.processors) == 0 && len(s.now.slots) == 0
	}) {
		t.Errorf("%d wait, %d compute, %d slots are taken",
			s.hashes.waiting.Load(), len(s.hashes.processors), len(s.now.slots))
	}
}

// TestHashTime: who waits for a processor gives up in time.
func TestHashTime(t *testing.T) {
	db := &stored{hashes: map[string]string{"ann": slowHash("ann")}}
	a, log := fakeAsker(t, "", &fake{name: "a", users: []string{"ann"}, do: db.check})
	s := start(t, a, func(s *server) {
		s.request = 20 * time.Millisecond
		s.hashes.processors = make(chan struct{}, 1)
		s.hashes.processors <- struct{}{}
	})
	if got := s.login("ann", "ann"); got != "temporary" {
		t.Errorf("got %s", got)
	}
	if strings.Contains(log.String(), "cannot answer") {
		t.Errorf("log:\n%s", log)
	}
}

// TestVerifyCache: a hash is computed once, but the account is read each time.
func TestVerifyCache(t *testing.T) {
	dir := directory(t, map[string]string{"authdaemonrc": "AUTH_VERIFY_CACHE=60\n"})
	db := &stored{hashes: map[string]string{"ann": slowHash("ann")}}
	a, log := fakeAsker(t, "", &fake{name: "a", users: []string{"ann"}, do: db.check})
	var computed atomic.Int64
	s := start(t, a, func(s *server) {
		s.hashes.verify = func(hash, clear string) (bool, error) {
			computed.Add(1)
			return hash == slowHash(clear), nil
		}
	}).keep(1)
	want := func(user, answer string, more int64) {
		t.Helper()
		before := computed.Load()
		if got := s.login(user, user); got != answer || computed.Load()-before != more {
			t.Errorf("%s: %s after %d hashes, want %s, %d", user, got, computed.Load()-before, answer, more)
		}
	}
	want("ann", "/a own=1", 1)
	want("ann", "/a own=1", 1) // the default: nothing is remembered
	s.hashes.remember(time.Minute)
	want("ann", "/a own=1", 1)
	want("ann", "/a own=1", 0)
	// Another hash, an account that is locked, and the hash of before: what the database says counts at once.
	db.set("ann", slowHash("bob"))
	want("ann", "refused", 1)
	want("ann", "refused", 1)
	db.set("ann", "!"+slowHash("ann"))
	want("ann", "refused", 0)
	db.set("ann", slowHash("ann"))
	want("ann", "/a own=1", 0)
	if s.hashes.remembered.Get() != 2 || s.hashes.computed.Get() != 5 {
		t.Errorf("%d remembered, %d computed", s.hashes.remembered.Get(), s.hashes.computed.Get())
	}
	// SIGHUP ends all that, whether the file can be read or not; then the setting is as it was.
	p := &program{directory: dir, log: log.logger(), now: time.Now}
	reload := func(rc string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, "authdaemonrc"), []byte(rc), 0o600); err != nil {
			t.Fatal(err)
		}
		modules := s.now.modules
		p.reread(s.server)
		next, _ := fakeAsker(t, rc[:0])
		next.modules = modules
		s.use(next)
	}
	reload("AUTH_VERIFY_CACHE=x\n")
	want("ann", "/a own=1", 1)
	want("ann", "/a own=1", 0)
	reload("AUTH_VERIFY_CACHE=60\n")
	want("ann", "/a own=1", 1)
	want("ann", "/a own=1", 0)
	reload("AUTH_VERIFY_CACHE=0\n")
	want("ann", "/a own=1", 1)
	want("ann", "/a own=1", 1)
}

// logger writes to the log.
func (l *lines) logger() *maillog.Log { return maillog.NewLog(l) }

// BenchmarkVerifyCache compares logins of 1,000 accounts with {SHA} and with bcrypt, each logging in again
// and again, on the second socket. bcrypt's cost does not matter, as no hash is computed but the first;
// cpu-µs/op is the time of client and daemon.
func BenchmarkVerifyCache(b *testing.B) {
	for _, like := range []string{"{SHA}", "$2b$04$......................"} {
		b.Run(like[:4], func(b *testing.B) {
			db := &stored{hashes: map[string]string{}}
			f := &fake{name: "a", do: db.check}
			for i := range 1000 {
				user := fmt.Sprint("user", i)
				hash, err := password.Hash(like, user)
				if err != nil {
					b.Fatal(err)
				}
				db.set(user, hash)
				f.users = append(f.users, user)
			}
			a, _ := fakeAsker(b, "", f)
			s := start(b, a, func(s *server) { s.hashes.remember(time.Hour) }).keep(8)
			login := func(i int) {
				user := f.users[i%len(f.users)]
				if got := s.login(user, user); got != "/a own=1" {
					b.Fatal(got)
				}
			}
			for i := range f.users {
				login(i)
			}
			began := processor()
			n := 0
			for b.Loop() {
				login(n)
				n++
			}
			b.ReportMetric(float64((processor()-began).Nanoseconds())/1000/float64(n), "cpu-µs/op")
		})
	}
}
