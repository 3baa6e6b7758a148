package rcfile

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"mailproxy/internal/filestamp"
)

// pause is how long nobody looks whether a file changed after somebody did: it matters under load only.
const pause = 20 * time.Millisecond

// maxSize bounds what is read of a file, in bytes.
const maxSize = 1 << 20

// Watcher holds a T made of a settings file and makes a new one when the file has changed. A file that fails
// to load is logged once, and the T made of its last good state stays.
type Watcher[T any] struct {
	path  string
	known []string
	build func(*Settings) (T, error)
	drop  func(T) // may be nil
	logf  func(format string, args ...any)

	born  time.Time
	quiet atomic.Int64 // the pause's end, in ns since born

	state  atomic.Pointer[state[T]]
	mu     sync.Mutex // held while loading
	closed bool
}

type state[T any] struct {
	stamp filestamp.Stamp
	held  *held[T] // nil: there is no value
	err   error    // why not
}

// held is a T and how many hold it, the watcher included.
type held[T any] struct {
	value T
	users atomic.Int64
	drop  func(T)
}

// hold tells whether the value can still be used, which then must be released.
func (h *held[T]) hold() bool {
	for {
		n := h.users.Load()
		if n == 0 {
			return false
		}
		if h.users.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// release ends what hold began.
func (h *held[T]) release() {
	if h.users.Add(-1) == 0 && h.drop != nil {
		h.drop(h.value)
	}
}

// loggedError is an error that logf has been told: Logged keeps who gets it with each request from telling it
// again.
type loggedError struct{ error }

func (loggedError) Logged() bool    { return true }
func (e loggedError) Unwrap() error { return e.error }

// Watch loads the file and returns its watcher. known are all settings that such a file may have: a misspelt
// one is reported to logf. build makes a T of the settings; drop, which may be nil, is given each T that was
// replaced, and the last one after Close, once it is no longer in use. Errors are passed to logf, one line
// for each change of the file.
func Watch[T any](path string, known []string, build func(*Settings) (T, error), drop func(T),
	logf func(format string, args ...any)) *Watcher[T] {
	w := &Watcher[T]{path: path, known: known, build: build, drop: drop, logf: logf, born: time.Now()}
	w.current() // logged; each request gets the error
	return w
}

// Use returns the value of the file as it is now, or was 20 ms ago. The value is not dropped before release
// is called. If the file has never been valid, the error says why; after Close it is [os.ErrClosed].
func (w *Watcher[T]) Use() (value T, release func(), err error) {
	for {
		st := w.current()
		if st.held == nil {
			return value, nil, st.err
		}
		if st.held.hold() {
			return st.held.value, st.held.release, nil
		}
		// It was replaced this moment.
	}
}

func (w *Watcher[T]) current() *state[T] {
	st, since := w.state.Load(), int64(time.Since(w.born))
	if st == nil || st.held == nil || since >= w.quiet.Load() {
		now, _ := filestamp.Of(w.path) // reload finds the error, too
		if st == nil || st.stamp != now {
			st = w.reload(now)
		}
		w.quiet.Store(since + int64(pause))
	}
	return st
}

// Close lets go of the current T and makes Use return [os.ErrClosed].
func (w *Watcher[T]) Close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return
	}
	w.closed = true
	old := w.state.Load()
	w.state.Store(&state[T]{err: os.ErrClosed})
	if old.held != nil {
		old.held.release()
	}
}

func (w *Watcher[T]) reload(now filestamp.Stamp) *state[T] {
	w.mu.Lock()
	defer w.mu.Unlock()
	old := w.state.Load()
	if w.closed {
		return &state[T]{err: os.ErrClosed}
	}
	if old != nil && old.stamp == now {
		return old // another request was faster
	}
	st := &state[T]{stamp: now}
	value, err := w.load()
	switch {
	case err == nil:
		st.held = &held[T]{value: value, drop: w.drop}
		st.held.users.Store(1)
		w.state.Store(st)
		if old != nil && old.held != nil {
			old.held.release()
		}
		return st
	case old != nil && old.held != nil:
		w.logf("%v; the settings read before stay in force", err)
		st.held = old.held
	default:
		w.logf("%v", err)
		st.err = loggedError{err}
	}
	w.state.Store(st)
	return st
}

func (w *Watcher[T]) load() (T, error) {
	var none T
	s, err := readFile(w.path)
	if err != nil {
		return none, err
	}
	for _, sentence := range s.misspelt(w.known) {
		w.logf("%s:%s", w.path, sentence)
	}
	value, err := w.build(s)
	var wrong *valueError
	switch {
	case errors.As(err, &wrong):
		return none, fmt.Errorf("%s:%d: %w", w.path, wrong.line, err)
	case err != nil:
		return none, fmt.Errorf("%s: %w", w.path, err)
	}
	return value, nil
}

// readFile reads and parses a file. It refuses one that everybody may read, for these files hold passwords.
func readFile(path string) (*Settings, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if fi.Mode().Perm()&0o004 != 0 {
		return nil, fmt.Errorf("%s: everybody may read this file and it holds a password: chmod o= it", path)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxSize+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxSize {
		return nil, fmt.Errorf("%s: larger than %d bytes", path, maxSize)
	}
	s, err := Parse(string(text))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}
