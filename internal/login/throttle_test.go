package login

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"mailproxy/authlib"
	"mailproxy/internal/config"
	"mailproxy/internal/launch"
	"mailproxy/internal/mailhost"
	"mailproxy/internal/maillog"
	"mailproxy/tests/logintest"
)

func throttled(t *testing.T, path string, log *bytes.Buffer) *Session {
	t.Helper()
	c, err := config.Load(nil, []string{"THROTTLE_FILE=" + path, "MAXUNAUTHPERIP=2"}, config.POP3)
	if err != nil {
		t.Fatal(err)
	}
	peer := launch.Peer{RemoteIP: "::ffff:192.0.2.7", RemotePort: "4711"}
	service := &Service{Protocol: &pop3, Config: c, System: new(RealSystem())}
	return service.NewSession(peer, nil, maillog.NewLog(log))
}

func TestFailDelayGrowsAcrossSessions(t *testing.T) {
	path := filepath.Join(t.TempDir(), "throttle")
	for i, want := range []time.Duration{5, 10, 15, 20, 25, 30, 30} {
		s := throttled(t, path, new(bytes.Buffer))
		if got := s.failDelay(true); got != want*time.Second {
			t.Errorf("refusal %d waits %v, want %v s", i+1, got, want)
		}
		if got := s.failDelay(false); got != 5*time.Second {
			t.Errorf("a temporary failure waits %v, want 5 s", got)
		}
	}
}

// TestDefaultDomain: with and without DEFDOMAIN's domain a name has one count.
func TestDefaultDomain(t *testing.T) {
	w := newWorld(t, imap, "DEFDOMAIN=@example.com", "THROTTLE_FILE=/nonexistent")
	names := new(namedThrottle)
	w.service.Throttle = names
	for _, user := range []string{"joe", "joe@example.com"} {
		if _, err := w.Login(t.Context(), password(user, "wrong")); !errors.Is(err, ErrRefused) {
			t.Error(err)
		}
	}
	if want := []string{"joe@example.com", "joe@example.com"}; !slices.Equal(names.counted, want) {
		t.Errorf("counted for %q, want %q", names.counted, want)
	}
}

// namedThrottle remembers the names that it counts for.
type namedThrottle struct {
	countingThrottle
	counted []string
}

func (n *namedThrottle) FailedName(name string, _ time.Time) (int, error) {
	n.counted = append(n.counted, name)
	return 1, nil
}

func TestEnterLimitsConnections(t *testing.T) {
	path := filepath.Join(t.TempDir(), "throttle")
	var log bytes.Buffer
	first, second, third := throttled(t, path, &log), throttled(t, path, &log), throttled(t, path, &log)
	if !first.AcquireUnauth() || !second.AcquireUnauth() {
		t.Fatal("two of two connections were refused")
	}
	if third.AcquireUnauth() {
		t.Error("a third connection was let in")
	}
	want := "NOTICE: Maximum of 2 connections without a login reached, ip=[::ffff:192.0.2.7], port=[4711]\n"
	if log.String() != want {
		t.Errorf("log %q, want %q", log.String(), want)
	}
	first.ReleaseUnauth()
	first.ReleaseUnauth() // once is enough
	if !third.AcquireUnauth() {
		t.Error("refused although one has left")
	}
	if throttled(t, path, &log).AcquireUnauth() {
		t.Error("leaving twice made room for two")
	}
}

// TestThrottleBroken: a table that cannot be used is said once, and stops nobody.
func TestThrottleBroken(t *testing.T) {
	var log bytes.Buffer
	path := t.TempDir()
	s := throttled(t, path, &log)
	if !s.AcquireUnauth() || s.failDelay(true) != 5*time.Second {
		t.Error("a broken table stopped a client")
	}
	s.ReleaseUnauth()
	if s.Config.ThrottleFile != path {
		t.Error("one session has changed the settings")
	}
	if n := strings.Count(log.String(), "\n"); n != 1 ||
		!strings.HasPrefix(log.String(), "WARN: THROTTLE_FILE: ") {
		t.Errorf("log %q", log.String())
	}
}

// When refusals are answered does not tell how long anybody took to find out.
func TestAnswerAfter(t *testing.T) {
	const s, ms = time.Second, time.Millisecond
	for _, test := range []struct{ took, delay, unit, want time.Duration }{
		{0, 5 * s, 5 * s, 5 * s},
		{1, 5 * s, 5 * s, 5 * s},
		{200 * ms, 5 * s, 5 * s, 5 * s},
		{5 * s, 5 * s, 5 * s, 5 * s},
		{5*s + 1, 5 * s, 5 * s, 10 * s},
		{31 * s, 5 * s, 5 * s, 35 * s},
		{200 * ms, 15 * s, 5 * s, 15 * s},
		{16 * s, 15 * s, 5 * s, 20 * s},
		{3 * s, 0, 0, 0},
	} {
		if got := answerAfter(test.took, test.delay, test.unit); got != test.want {
			t.Errorf("%+v: %v", test, got)
		}
	}
}

// An unknown user, a slow hash, a slow mailhost and a database that hangs: answered at the same time or a
// multiple of it.
func TestRefusalsTakeTheSameTime(t *testing.T) {
	for _, test := range []struct {
		name  string
		takes time.Duration
		want  time.Duration // until the answer
	}{
		{"unknown", 0, 5 * time.Second}, {"slow hash", 190 * time.Millisecond, 5 * time.Second}, {"slow",
			7 * time.Second, 10 * time.Second},
	} {
		for _, user := range []string{"eve", "bob", "carl"} {
			w := newWorld(t, imap, "IMAP_PROXY=1")
			now := time.Now()
			w.service.System.Now = func() time.Time { return now }
			work := func() { now = now.Add(test.takes) }
			w.auth.Add("carl", "mailhost=127.0.0.2")
			w.Servers["127.0.0.2:143"] = func(context.Context, *mailhost.Conn) error {
				work()
				return &RejectedError{Step: mailhost.StepLogin, Answer: Answer{Text: "no"}}
			}
			w.service.Auth = slowAuth{w.auth, work}
			start := now
			w.service.System.Sleep = func(_ context.Context, d time.Duration) { now = now.Add(d) }
			w.Login(t.Context(), password(user, "secret"))
			took := now.Sub(start)
			if user == "carl" && test.takes > 5*time.Second {
				test.want = 15 * time.Second // both were slow
			}
			if took != test.want {
				t.Errorf("%s, %s: answered after %v, want %v", test.name, user, took, test.want)
			}
		}
	}
}

// slowAuth takes its time to answer.
type slowAuth struct {
	*logintest.Auth
	work func()
}

func (a slowAuth) Authenticate(ctx context.Context, r *authlib.AuthRequest) (*authlib.Account, error) {
	a.work()
	return a.Auth.Authenticate(ctx, r)
}

// Guesses at one account from many addresses are slowed, up to the limit; the right password is not.
func TestNameThrottled(t *testing.T) {
	path := filepath.Join(t.TempDir(), "throttle")
	for i, want := range []time.Duration{5, 10, 15, 20, 25, 30, 30} {
		w := newWorld(t, imap, "THROTTLE_FILE="+path, "DEFDOMAIN=@example.com")
		w.auth.Add("bob@example.com", "")
		w.Peer.RemoteIP = fmt.Sprintf("192.0.2.%d", i+1)
		name := []string{"bob", "BOB", "bob@example.com"}[i%3]
		if _, err := w.Login(t.Context(), password(name, "x")); err == nil {
			t.Fatal("logged in")
		}
		if !slices.Equal(w.slept, []time.Duration{want * time.Second}) {
			t.Errorf("guess %d from another address: slept %v, want %v s", i+1, w.slept, want)
		}
	}
	w := newWorld(t, imap, "THROTTLE_FILE="+path, "DEFDOMAIN=@example.com")
	w.auth.Add("bob@example.com", "")
	if _, err := w.Login(t.Context(), password("bob", "secret")); err != nil || len(w.slept) != 0 {
		t.Errorf("the right password: %v, slept %v", err, w.slept)
	}
}
