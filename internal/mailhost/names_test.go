package mailhost

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"mailproxy/internal/config"
	"mailproxy/tests/clock"
)

var (
	errServerFailed = &net.DNSError{Err: "server misbehaving", Name: "mail1", IsTemporary: true}
	errNoName       = &net.DNSError{Err: "no such host", Name: "mail1", IsNotFound: true}
)

// nameServer answers for every name, as it is told to.
type nameServer struct {
	mu     sync.Mutex
	addr   string        // the answer
	err    error         // instead of it
	takes  time.Duration // until it answers
	silent bool          // it never does

	asked, underWay, most int
}

func (s *nameServer) set(f func(s *nameServer)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(s)
}

func (s *nameServer) lookUp(ctx context.Context, _ string) ([]netip.Addr, error) {
	s.mu.Lock()
	s.asked++
	s.underWay++
	s.most = max(s.most, s.underWay)
	addr, err, takes, silent := s.addr, s.err, s.takes, s.silent
	s.mu.Unlock()
	defer s.set(func(s *nameServer) { s.underWay-- })
	if silent {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	time.Sleep(takes)
	if err != nil {
		return nil, err
	}
	return []netip.Addr{netip.MustParseAddr(addr)}, nil
}

// newDialer returns a Dialer that finds names by s, and what its Health has told so far of names.
func newDialer(s *nameServer, now func() time.Time) (d *Dialer, told func() string) {
	var mu sync.Mutex
	var lines []string
	tell := func(line string) {
		mu.Lock()
		defer mu.Unlock()
		lines = append(lines, line)
	}
	d = &Dialer{Config: &config.Config{ConnectTimeout: 30 * time.Second}, Port: "143", Lookup: s.lookUp}
	d.Health = NewHealth(2, time.Second, now, Events{
		Unresolved: func(host string, err error) { tell(fmt.Sprintf("%s: %v", host, err)) },
		Resolved:   func(host string, silent time.Duration) { tell(fmt.Sprintf("%s after %v", host, silent)) },
	})
	return d, func() string { mu.Lock(); defer mu.Unlock(); return strings.Join(lines, "; ") }
}

// resolved says what a login finds and how long it takes.
func resolved(ctx context.Context, d *Dialer, host string) string {
	began := time.Now()
	addrs, err := d.Resolve(ctx, Host{Name: host}, "")
	return fmt.Sprintf("%v %v %v", addrs, err, time.Since(began))
}

func wantResolved(t *testing.T, d *Dialer, when, want string) {
	t.Helper()
	if got := resolved(t.Context(), d, "mail1"); got != want {
		t.Errorf("%s: %s, want %s", when, got, want)
	}
}

// TestLastAnswer: while name servers answer, that is taken; while they do not, the last answer is, until it
// is too old.
func TestLastAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &nameServer{addr: "192.0.2.1"}
		d, told := newDialer(s, time.Now)
		wantResolved(t, d, "an answer", "[192.0.2.1:143] <nil> 0s")
		s.set(func(s *nameServer) { s.addr = "192.0.2.2" })
		wantResolved(t, d, "a new one", "[192.0.2.2:143] <nil> 0s")
		s.set(func(s *nameServer) { s.addr, s.takes = "192.0.2.3", 20*time.Second })
		wantResolved(t, d, "slow", "[192.0.2.2:143] <nil> 1s")
		wantResolved(t, d, "the same look-up", "[192.0.2.2:143] <nil> 0s")
		time.Sleep(20 * time.Second)
		s.set(func(s *nameServer) { s.takes = patience / 2 })
		wantResolved(t, d, "the slow answer was learned", "[192.0.2.3:143] <nil> 500ms")
		if told() != "" {
			t.Errorf("told %s", told())
		}

		s.set(func(s *nameServer) { s.takes, s.err = 0, errServerFailed })
		for range 3 {
			wantResolved(t, d, "failing", "[192.0.2.3:143] <nil> 0s")
		}
		s.set(func(s *nameServer) { s.silent = true })
		wantResolved(t, d, "silent", "[192.0.2.3:143] <nil> 1s")
		time.Sleep(30 * time.Second)
		s.set(func(s *nameServer) { s.silent, s.err, s.addr = false, nil, "192.0.2.4" })
		wantResolved(t, d, "recovered", "[192.0.2.4:143] <nil> 0s")
		if want := "mail1: " + errServerFailed.Error() + "; mail1 after 31s"; told() != want {
			t.Errorf("told %s, want %s", told(), want)
		}

		s.set(func(s *nameServer) { s.err = errServerFailed })
		time.Sleep(maxAnswerAge - time.Second)
		wantResolved(t, d, "old", "[192.0.2.4:143] <nil> 0s")
		time.Sleep(time.Second)
		wantResolved(t, d, "too old", "[] "+errServerFailed.Error()+" 0s")
		if len(d.Health.Names.all) != 0 {
			t.Errorf("still known: %v", d.Health.Names.all)
		}
	})
}

// TestNoName: that there is no such name is an answer, after which the last one is not used again.
func TestNoName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &nameServer{addr: "192.0.2.1"}
		d, told := newDialer(s, time.Now)
		wantResolved(t, d, "an answer", "[192.0.2.1:143] <nil> 0s")
		s.set(func(s *nameServer) { s.err = errServerFailed })
		wantResolved(t, d, "failing", "[192.0.2.1:143] <nil> 0s")
		s.set(func(s *nameServer) { s.err = errNoName })
		wantResolved(t, d, "no such name", "[] "+errNoName.Error()+" 0s")
		s.set(func(s *nameServer) { s.err = errServerFailed })
		wantResolved(t, d, "failing again", "[] "+errServerFailed.Error()+" 0s")
		if want := "mail1: " + errServerFailed.Error() + "; mail1 after 0s"; told() != want {
			t.Errorf("told %s, want %s", told(), want)
		}
	})
}

// TestAnswerIsNotShared: what a login does with its addresses is not seen by the next.
func TestAnswerIsNotShared(t *testing.T) {
	s := &nameServer{addr: "192.0.2.1"}
	d, _ := newDialer(s, time.Now)
	for _, err := range []error{nil, errServerFailed, errServerFailed} {
		s.set(func(s *nameServer) { s.err = err })
		addrs, err := d.lookUp(t.Context(), "mail1")
		if err != nil || len(addrs) != 1 || addrs[0] != netip.MustParseAddr("192.0.2.1") {
			t.Fatalf("%v, %v", addrs, err)
		}
		addrs[0] = netip.Addr{}
	}
}

// TestSilentFromTheStart: all logins that need a name wait for one look-up of it, no more than may wait for
// an address, each for as long as it may; the look-up ends in time.
func TestSilentFromTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &nameServer{silent: true}
		d, _ := newDialer(s, time.Now)
		results := make(chan string, 7)
		login := func(within time.Duration) {
			go func() {
				ctx, cancel := context.WithTimeout(t.Context(), within)
				defer cancel()
				results <- resolved(ctx, d, "mail1")
			}()
			synctest.Wait()
		}
		for range 3 {
			login(5 * time.Second)
		}
		for range 3 {
			login(time.Hour)
		}
		login(time.Hour)
		if got, want := <-results, "[] "+errManyWait.Error()+" 0s"; got != want {
			t.Errorf("one more than may wait: %s, want %s", got, want)
		}
		for range 3 {
			if got, want := <-results, "[] context deadline exceeded 5s"; got != want {
				t.Errorf("a login with little time: %s, want %s", got, want)
			}
		}
		login(time.Hour) // there is a place again
		got := []string{<-results, <-results, <-results, <-results}
		slices.Sort(got)
		late, early := "[] context deadline exceeded 25s", "[] context deadline exceeded 30s"
		if want := []string{late, early, early, early}; !slices.Equal(got, want) {
			t.Errorf("logins that could wait: %q, want %q", got, want)
		}
		synctest.Wait()
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.asked != 1 || s.underWay != 0 || len(d.Health.Names.all) != 0 {
			t.Errorf("%d look-ups, %d under way, known: %v", s.asked, s.underWay, d.Health.Names.all)
		}
	})
}

// TestStoppedWhileWaiting: a program that ends does not wait for name servers, and the cause says so.
func TestStoppedWhileWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &nameServer{silent: true}
		d, _ := newDialer(s, time.Now)
		ctx, cancel := context.WithCancel(t.Context())
		go func() { time.Sleep(time.Second); cancel() }()
		if got, want := resolved(ctx, d, "mail1"), "[] context canceled 1s"; got != want {
			t.Errorf("%s, want %s", got, want)
		}
		time.Sleep(time.Minute)
	})
}

// TestLookupsUnderWay: no more than maxLookups are; others wait for a place, or use the last answer.
func TestLookupsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &nameServer{addr: "192.0.2.1"}
		d, _ := newDialer(s, time.Now)
		wantResolved(t, d, "an answer", "[192.0.2.1:143] <nil> 0s")
		s.set(func(s *nameServer) { s.takes = 10 * time.Second })
		var wg sync.WaitGroup
		for i := range 2 * maxLookups {
			wg.Go(func() {
				want := fmt.Sprintf("[192.0.2.1:143] <nil> %v", time.Duration(1+i/maxLookups)*s.takes)
				if got := resolved(t.Context(), d, fmt.Sprint("other", i)); got != want {
					t.Errorf("login %d: %s, want %s", i, got, want)
				}
			})
			synctest.Wait()
		}
		wantResolved(t, d, "a name with an answer", "[192.0.2.1:143] <nil> 1s")
		wg.Wait()
		time.Sleep(time.Minute)
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.most != maxLookups {
			t.Errorf("%d look-ups at a time, want %d", s.most, maxLookups)
		}
	})
}

// TestNamesAreBounded: the oldest answer makes room.
func TestNamesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &nameServer{addr: "192.0.2.1"}
		d, _ := newDialer(s, time.Now)
		for i := range maxNames + 3 {
			resolved(t.Context(), d, fmt.Sprint("mail", i))
			time.Sleep(time.Millisecond)
		}
		all := d.Health.Names.all
		if len(all) != maxNames || all["mail2"] != nil || all["mail3"] == nil {
			t.Errorf("%d names are known, want %d", len(all), maxNames)
		}
	})
}

// TestNamesTogether is for the race detector: many logins, while name servers come and go.
func TestNamesTogether(t *testing.T) {
	s := &nameServer{addr: "192.0.2.1"}
	d, _ := newDialer(s, time.Now)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 100 {
				s.set(func(s *nameServer) { s.err = []error{nil, errServerFailed, errNoName}[j%3] })
				addrs, err := d.Resolve(t.Context(), Host{Name: fmt.Sprint("mail", (i+j)%4)}, "")
				_, isDNS := errors.AsType[*net.DNSError](err)
				if err == nil && len(addrs) != 1 || err != nil && !isDNS && !errors.Is(err, errManyWait) {
					t.Errorf("%v, %v", addrs, err)
				}
			}
		})
	}
	wg.Wait()
}

// TestOneConnection: without Health there is nothing between a login and its look-up.
func TestOneConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &nameServer{silent: true}
		d, _ := newDialer(s, time.Now)
		d.Health = nil
		wantResolved(t, d, "silent", "[] context deadline exceeded 30s")
	})
}

// TestNamesInherited: the next process knows the last answers and their age, however the clock is set.
func TestNamesInherited(t *testing.T) {
	for what, step := range clock.Steps() {
		t.Run(what, func(t *testing.T) {
			var c clock.Clock
			s := &nameServer{addr: "192.0.2.1"}
			d, _ := newDialer(s, c.Now)
			for _, err := range []error{nil, errServerFailed} {
				s.set(func(s *nameServer) { s.err = err })
				if _, err := d.Resolve(t.Context(), Host{Name: "mail1"}, ""); err != nil {
					t.Fatal(err)
				}
			}
			c.Pass(time.Minute)
			data, err := d.Health.Names.MarshalBinary()
			if err != nil {
				t.Fatal(err)
			}
			c.Set(step)
			next, told := newDialer(s, c.Now)
			if err := next.Health.Names.UnmarshalBinary(data); err != nil {
				t.Fatal(err)
			}
			c.Pass(time.Minute)
			addrs, err := next.Resolve(t.Context(), Host{Name: "mail1"}, "")
			if want := netip.MustParseAddrPort("192.0.2.1:143"); err != nil || !slices.Contains(addrs, want) {
				t.Errorf("%v, %v", addrs, err)
			}
			s.set(func(s *nameServer) { s.err = nil })
			if _, err := next.Resolve(t.Context(), Host{Name: "mail1"}, ""); err != nil {
				t.Error(err)
			}
			if want := "mail1 after 2m0s"; told() != want {
				t.Errorf("told %q, want %q", told(), want)
			}
		})
	}
}

// Nothing that is not understood is learned, nor half of it.
func TestNamesInheritNonsense(t *testing.T) {
	good := `"a":{"addrs":["192.0.2.1"],"answered":1}`
	for _, data := range []string{
		"", "x", "[]", `{"a":[]}`, `{` + good + `,"b":{"addrs":["192.0.2"],"answered":1}}`,
		`{` + good + `,"b":{"addrs":[""],"answered":1}}`, `{` + good + `,"b":{"answered":-1}}`,
		`{` + good + `,"b":{"addrs":["192.0.2.1"],"silent":-1}}`,
	} {
		d, _ := newDialer(&nameServer{}, time.Now)
		if d.Health.Names.UnmarshalBinary([]byte(data)) == nil || len(d.Health.Names.all) != 0 {
			t.Errorf("%s is taken", data)
		}
	}
}
