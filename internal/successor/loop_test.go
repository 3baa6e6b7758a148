package successor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"mailproxy/internal/version"
)

// reloads is a Loop whose reloads the test decides about.
type reloads struct {
	Loop
	signals chan os.Signal
	failed  chan error
	began   chan struct{}
	ends    chan error
	next    *Next

	mu  sync.Mutex
	log []string
}

func newReloads(t *testing.T) *reloads {
	r := &reloads{
		signals: make(chan os.Signal), failed: make(chan error),
		began: make(chan struct{}), ends: make(chan error),
	}
	r.Loop = Loop{
		Signals: r.signals, Failed: r.failed, Prefix: "x: ", Ending: func() { r.say("ending") }, Log: r.say,
		ReloadFailed: new(atomic.Bool), Addresses: []string{"a", "tls:b"}, Sessions: func() int { return 5 },
		Replace: func(ctx context.Context) (*Next, error) {
			r.began <- struct{}{}
			select {
			case err := <-r.ends:
				return r.next, err
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		},
	}
	// Under nohup(1) SIGHUP is ignored, here and in what is started here. What has a handler here is not.
	caught := make(chan os.Signal, 1)
	signal.Notify(caught, unix.SIGHUP)
	defer signal.Stop(caught)
	cmd := exec.CommandContext(t.Context(), "sleep", "600")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Wait() })
	r.next = &Next{Process: cmd.Process, Sessions: 7}
	return r
}

func (r *reloads) say(line string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.log = append(r.log, line)
}

// awaitLog waits for the n-th line; the test's own deadline ends what waits for it in vain.
func (r *reloads) awaitLog(n int) {
	for {
		r.mu.Lock()
		have := len(r.log)
		r.mu.Unlock()
		if have >= n {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

func TestLoop(t *testing.T) {
	const term = "INFO: x: SIGTERM: ending with 5 sessions"
	const failed = "ERR: x: reload failed, this process goes on with its settings: no"
	for name, test := range map[string]struct {
		do       func(*reloads)
		replaced bool
		err      string
		log      []string
	}{
		"ended": {func(r *reloads) { r.signals <- unix.SIGTERM }, false, "", []string{term, "ending"}},
		"fails": {func(r *reloads) { r.failed <- errors.New("accept") }, false, "accept", nil},
		"reload": {func(r *reloads) {
			r.signals <- unix.SIGHUP
			<-r.began
			r.ends <- nil
		}, true, "", []string{"INFO: x: 7 sessions passed on to process PID"}},
		"a second reload after one that fails": {func(r *reloads) {
			r.signals <- unix.SIGHUP
			<-r.began
			r.signals <- unix.SIGHUP
			r.ends <- errors.New("no")
			<-r.began
			r.ends <- errors.New("no")
			r.awaitLog(3)
			r.signals <- unix.SIGINT
		}, false, "", []string{failed, failed, "INFO: x: SIGINT: ending with 5 sessions", "ending"}},
		"a reload is interrupted": {func(r *reloads) {
			r.signals <- unix.SIGHUP
			<-r.began
			r.signals <- unix.SIGTERM
		}, false, "", []string{term, "ending"}},
		"no reload": {func(r *reloads) {
			r.NoReload = "here"
			r.signals <- unix.SIGHUP
			r.signals <- unix.SIGTERM
		}, false, "", []string{"WARN: x: SIGHUP has no effect here", term, "ending"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newReloads(t)
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			go test.do(r)
			next, err := r.wait(ctx)
			text := ""
			if err != nil {
				text = err.Error()
			}
			for i := range r.log {
				line, _, _ := strings.Cut(r.log[i], "to process ")
				if line != r.log[i] {
					r.log[i] = line + "to process PID"
				}
			}
			began := "INFO: x: version " + version.Version + " listens at a, tls:b"
			if (next != nil) != test.replaced || text != test.err ||
				!slices.Equal(r.log, append([]string{began}, test.log...)) {
				t.Errorf("%v, %v, log %q", next, err, r.log)
			}
			if got, want := r.ReloadFailed.Load(), slices.Contains(test.log, failed); got != want {
				t.Errorf("a reload has failed: %v, want %v", got, want)
			}
		})
	}
}

// TestTakenOver: a process that has taken another one's place says so, in the same line.
func TestTakenOver(t *testing.T) {
	r := newReloads(t)
	n := 3
	r.TakenOver = &n
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.wait(ctx); err != nil {
		t.Error(err)
	}
	want := fmt.Sprintf("INFO: x: 3 sessions taken over by process %d: version %s listens at a, tls:b",
		os.Getpid(), version.Version)
	if !slices.Equal(r.log, []string{want}) {
		t.Errorf("log %q, want %s", r.log, want)
	}
}

// TestForward: SIGHUP is for the process that has taken over, another signal ends the wait.
func TestForward(t *testing.T) {
	r := newReloads(t)
	ctx, stop := r.forward(t.Context(), r.next)
	defer stop()
	r.signals <- unix.SIGHUP
	if state, err := r.next.Wait(); err != nil || state.Sys().(syscall.WaitStatus).Signal() != unix.SIGHUP {
		t.Errorf("%v, %v", state, err)
	}
	r.signals <- unix.SIGTERM
	<-ctx.Done()
	if want := []string{"INFO: x: SIGTERM: ending with 5 sessions"}; !slices.Equal(r.log, want) {
		t.Errorf("log %q", r.log)
	}
}

// TestRun: after a reload the logins and sessions that are left are waited for, these for a time; without one
// nothing is.
func TestRun(t *testing.T) {
	for name, test := range map[string]struct {
		signal syscall.Signal
		linger time.Duration
		log    []string
	}{
		"ended": {unix.SIGTERM, time.Minute, []string{"INFO: x: SIGTERM: ending with 5 sessions", "ending",
			"close"}},
		"sessions end": {unix.SIGHUP, time.Minute, []string{"close", "logins", "sessions"}},
		"sessions stay": {unix.SIGHUP, 0,
			[]string{"close", "logins", "INFO: x: -linger is over: ending with 5 sessions"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newReloads(t)
			r.Close = func() { r.say("close") }
			r.Logins = func(context.Context) { r.say("logins") }
			r.SessionsEnd = func(ctx context.Context) error {
				if ctx.Err() == nil {
					r.say("sessions")
				}
				return ctx.Err()
			}
			r.Replace = func(context.Context) (*Next, error) { return r.next, nil }
			r.Linger = test.linger
			go func() { r.signals <- test.signal }()
			if err := r.Run(t.Context()); err != nil {
				t.Error(err)
			}
			log := slices.DeleteFunc(r.log, func(line string) bool {
				return strings.Contains(line, "listens at") || strings.Contains(line, "passed on")
			})
			if !slices.Equal(log, test.log) {
				t.Errorf("log %q, want %q", log, test.log)
			}
		})
	}
}
