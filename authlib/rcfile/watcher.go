package rcfile

import (
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// pause is how long nobody looks whether a file changed after somebody did: it matters under load only.
const pause = 20 * time.Millisecond

// maxSize bounds what is read of a file, in bytes.
const maxSize = 1 << 20

// Watcher holds a T made of a settings file and makes a new one when the file has changed. A file that fails to load
// is logged once, and the T made of its last good state stays.
type Watcher[T any] struct {
	path  string
	build func(*Settings) (T, error)
	drop  func(T)
	logf  func(format string, args ...any)

	born  time.Time
	quiet atomic.Int64 // the pause's end, in ns since born

	state  atomic.Pointer[state[T]]
	mu     sync.Mutex // held while loading
	closed bool
}

type state[T any] struct {
	stamp stamp
	value T
	ok    bool  // value is usable
	err   error // why not, when it is not
}

// loggedError is an error that logf has been told: Logged keeps who gets it with each request from telling it again.
type loggedError struct{ error }

func (loggedError) Logged() bool    { return true }
func (e loggedError) Unwrap() error { return e.error }

// stamp tells whether a file is still what it was.
type stamp struct {
	mtime time.Time
	size  int64
	mode  os.FileMode
	err   string // of stat
}

// Watch loads the file and returns its watcher. build makes a T of the settings; drop, which may be nil, is given each
// T that was replaced, and the last one by Close; requests may still be using it. What goes wrong is passed to logf,
// one line a change of the file.
func Watch[T any](path string, build func(*Settings) (T, error), drop func(T), logf func(format string, args ...any)) *Watcher[T] {
	w := &Watcher[T]{path: path, build: build, drop: drop, logf: logf, born: time.Now()}
	_, _ = w.Current() // logged; each request gets the error
	return w
}

// Current returns what the file says now, or said 20 ms ago. The error is that of a file that has never been good.
func (w *Watcher[T]) Current() (T, error) {
	st, since := w.state.Load(), int64(time.Since(w.born))
	if st == nil || !st.ok || since >= w.quiet.Load() {
		now := w.stat()
		if st == nil || st.stamp != now {
			st = w.reload(now)
		}
		w.quiet.Store(since + int64(pause))
	}
	if !st.ok {
		var none T
		return none, st.err
	}
	return st.value, nil
}

// Close drops the current T and makes Current return [os.ErrClosed].
func (w *Watcher[T]) Close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return
	}
	w.closed = true
	if st := w.state.Load(); st.ok && w.drop != nil {
		w.drop(st.value)
	}
	w.state.Store(&state[T]{stamp: w.stat(), err: os.ErrClosed})
}

func (w *Watcher[T]) stat() stamp {
	fi, err := os.Stat(w.path)
	if err != nil {
		return stamp{err: err.Error()}
	}
	return stamp{mtime: fi.ModTime(), size: fi.Size(), mode: fi.Mode()}
}

func (w *Watcher[T]) reload(now stamp) *state[T] {
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
		st.value, st.ok = value, true
		if old != nil && old.ok && w.drop != nil {
			w.drop(old.value)
		}
	case old != nil && old.ok:
		w.logf("%v; the settings read before stay in force", err)
		st.value, st.ok = old.value, true
	default:
		w.logf("%v", err)
		st.err = loggedError{err}
	}
	w.state.Store(st)
	return st
}

func (w *Watcher[T]) load() (T, error) {
	var none T
	s, err := Read(w.path)
	if err != nil {
		return none, err
	}
	value, err := w.build(s)
	if err != nil {
		return none, fmt.Errorf("%s: %w", w.path, err)
	}
	return value, nil
}

// Read reads and parses a file. It refuses one that everybody may read, for these files hold passwords.
func Read(path string) (*Settings, error) {
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
