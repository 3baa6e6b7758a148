package tlsconf

import (
	"crypto/tls"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"mailproxy/internal/filestamp"
	"mailproxy/internal/loglimit"
)

const (
	checkEvery = time.Minute     // how long what the files held is believed without a look at them
	logEvery   = time.Hour       // how long a line is not written again while nothing changes
	settled    = 2 * time.Second // a file that is younger may yet change within the same time stamp
	maxNames   = 1000            // names and addresses whose certificates are kept
)

// Memory caches certificates and the other files of handshakes for a process that serves many connections,
// all with the same settings. Once a minute one of the handshakes checks the files, while the others use the
// cached values. Files that have changed are read into new values; values in use are never modified. If the
// new content cannot be used (a renewed certificate whose key is not there yet, a file half written or gone),
// the last good certificate stays in use. Options.Err is called once for it, and again when the files change
// or an hour has passed.
//
// The zero Memory is empty and ready; it may be used by many goroutines at once.
type Memory struct {
	base   cached[*policies]
	mu     sync.Mutex // for what follows
	sets   map[string]*cached[*certSet]
	logged loglimit.Limit
}

// cached is an immutable value that is made anew when it is older than checkEvery. One goroutine does so.
type cached[T any] struct {
	mu    sync.Mutex
	value atomic.Pointer[cachedValue[T]]
}

type cachedValue[T any] struct {
	at    time.Time
	value T
}

// get returns the value, after a look where it is due. look gets the one before, or the zero value.
func (l *cached[T]) get(now time.Time, look func(before T) T) T {
	if v := l.value.Load(); v == nil {
		l.mu.Lock() // nobody can go on without
	} else if !due(v.at, now) || !l.mu.TryLock() {
		return v.value
	}
	defer l.mu.Unlock()
	var before T
	if v := l.value.Load(); v != nil {
		if before = v.value; !due(v.at, now) {
			return before
		}
	}
	after := look(before)
	l.value.Store(&cachedValue[T]{now, after})
	return after
}

// due also holds when the clock has been set back; goroutines that have read it in another order than they
// come here do not count as that.
func due(at, now time.Time) bool { return now.Sub(at).Abs() >= checkEvery }

// certSet is what the files of one name, or one address, or TLS_CERTFILE itself hold.
type certSet struct {
	files []fileState
	found []candidate // inOrder; each is loaded
	err   error       // what is wrong with the files, when found is empty
	key   string      // the state of the files
}

// fileState is one pair of files.
type fileState struct {
	files files
	stamp string // "" = to be read again
	good  []candidate
	bad   []problem
	kept  []candidate // those of good that are from before
}

// def returns the certificates for clients that name no server we have. The error is a CertificateError.
func (m *Memory) def(o *Options) ([]candidate, error) {
	base := m.policies(o)
	if base.err != nil {
		return nil, m.failure(o, base.err, "")
	}
	if found, err := m.set(o, base, addressSuffix(o.LocalIP)); found != nil || err != nil {
		return found, err
	}
	return m.certificates(o, "", base.files)
}

// named returns the certificates for the server that a client names; none and no error when there are none.
func (m *Memory) named(o *Options, server string) ([]candidate, error) {
	return m.set(o, m.policies(o), nameSuffix(server))
}

// set returns the certificates whose files end in the suffix, if there are any.
func (m *Memory) set(o *Options, base *policies, suffix string) ([]candidate, error) {
	if suffix == "" || base.suffixes != nil && !base.suffixes[suffix] {
		return nil, nil
	}
	if base.suffixes == nil && !m.isKnown(suffix) && base.files.suffixed(suffix) == nil {
		return nil, nil // clients can invent any number of names: what is not there is not remembered
	}
	return m.certificates(o, suffix, base.files)
}

func (m *Memory) isKnown(suffix string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.sets[suffix] != nil
}

// certificates returns those of a suffix, "" being none.
func (m *Memory) certificates(o *Options, suffix string, base fileList) ([]candidate, error) {
	set := m.entry(suffix).get(o.now(), func(before *certSet) *certSet {
		list := base
		if suffix != "" {
			list = base.suffixed(suffix)
		}
		return m.look(o, before, list)
	})
	if suffix != "" && len(set.files) == 0 {
		m.mu.Lock()
		delete(m.sets, suffix)
		m.mu.Unlock()
		return nil, nil
	}
	if len(set.found) == 0 {
		return nil, m.failure(o, set.err, set.key)
	}
	return set.found, nil
}

// entry finds what is remembered of a suffix. When there are too many, any other one is forgotten.
func (m *Memory) entry(suffix string) *cached[*certSet] {
	m.mu.Lock()
	defer m.mu.Unlock()
	e := m.sets[suffix]
	if e != nil {
		return e
	}
	if m.sets == nil {
		m.sets = map[string]*cached[*certSet]{}
	}
	for other := range m.sets {
		if len(m.sets) <= maxNames {
			break
		}
		if other != "" {
			delete(m.sets, other)
		}
	}
	e = &cached[*certSet]{}
	m.sets[suffix] = e
	return e
}

// look makes the next value: files that have not changed are not read.
func (m *Memory) look(o *Options, before *certSet, list fileList) *certSet {
	set := &certSet{}
	var bad []problem
	for _, f := range list {
		var old fileState
		if before != nil {
			if i := slices.IndexFunc(before.files, func(s fileState) bool { return s.files == f }); i >= 0 {
				old = before.files[i]
			}
		}
		state := old
		stamp, still := f.stamp(o.now())
		if stamp != old.stamp {
			state = m.load(o, f, old, stamp)
		}
		if !still {
			state.stamp = ""
		}
		set.files = append(set.files, state)
		set.found = append(set.found, state.good...)
		bad = append(bad, state.bad...)
		set.key += stamp
	}
	set.err = oneError(bad)
	if len(set.found) > 0 {
		m.tell(o, set)
	}
	inOrder(set.found, o.now())
	for _, c := range set.found {
		expired := o.now().After(c.leaf.NotAfter)
		if expired && m.shouldLog(o, "expired "+c.files.cert+day(c.leaf.NotAfter)) {
			o.warnExpired(c)
		}
	}
	return set
}

// load reads a pair of files. If something in it cannot be used, the certificates that were good before stay,
// except those that were renewed.
func (m *Memory) load(o *Options, f files, old fileState, stamp string) fileState {
	quiet := *o
	quiet.Warn = func(format string, a ...any) {
		if m.shouldLog(o, fmt.Sprint(stamp, format, a)) {
			o.warn(format, a...)
		}
	}
	state := fileState{files: f, stamp: stamp}
	found, bad := fileList{f}.read(&quiet)
	state.bad = bad
	for _, c := range found {
		cert, err := c.load()
		if err != nil {
			state.bad = append(state.bad, problem{f, err})
			continue
		}
		c.load = func() (*tls.Certificate, error) { return cert, nil }
		state.good = append(state.good, c)
	}
	if len(state.bad) > 0 {
		state.kept = slices.DeleteFunc(slices.Clone(old.good), func(c candidate) bool {
			return slices.ContainsFunc(state.good, c.isLike)
		})
		state.good = append(state.good, state.kept...)
	}
	return state
}

// tell logs what is wrong with files while something is served.
func (m *Memory) tell(o *Options, set *certSet) {
	for _, s := range set.files {
		for _, p := range s.bad {
			switch {
			case !m.shouldLog(o, fmt.Sprint(p, set.key)):
			case len(s.kept) > 0:
				o.err("%v; the last good certificate of %s, good until %s, is still served",
					p, s.files.cert, day(s.kept[0].leaf.NotAfter))
			default:
				o.err("%v; the other certificate serves", p)
			}
		}
	}
}

// failure is the error of files of which nothing can be used.
func (m *Memory) failure(o *Options, err error, key string) error {
	return &CertificateError{Err: err, Again: !m.shouldLog(o, "failure "+err.Error()+key)}
}

// shouldLog says whether something is to be logged, and notes that it is: it has not been within the last
// hour.
func (m *Memory) shouldLog(o *Options, what string) bool {
	return m.logged.Due(what, logEvery, o.now())
}

// stamp tells the state of two files from any other one without reading them. still: nobody can change them
// from now on without another stamp.
func (f files) stamp(now time.Time) (stamp string, still bool) {
	still = true
	for _, path := range []string{f.cert, f.key} {
		s, err := filestamp.Of(path)
		stamp += fmt.Sprint(s)
		still = still && (err != nil || now.Sub(time.Unix(0, s.Changed)) > settled)
	}
	return stamp, still
}
