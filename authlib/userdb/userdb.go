// Package userdb is the account database that needs no other program: Courier's userdb, a text file or a
// directory of text files, or the GDBM files that makeuserdb makes from them. See userdb(8) of Courier for
// the format.
//
// The .dat files are read when they exist and are no older than the text, else the text. It lacks Courier's
// other kinds of .dat files (Berkeley DB).
package userdb

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"sync/atomic"
	"time"

	"mailproxy/authlib"
	"mailproxy/authlib/password"
)

// defaultPath is where Courier's tools keep the text.
const defaultPath = "/etc/courier/userdb"

// How long nobody looks whether the files changed: quietTime after a look at a directory of text files, which
// costs a stat of every file, and after files that cannot be read; busyTime after a look at files, which
// matters under load only, and is shorter than it takes to run makeuserdb.
const (
	quietTime = time.Second
	busyTime  = 20 * time.Millisecond
)

// Config says where the database is.
type Config struct {
	// Path of the text file or directory; empty = defaultPath. The .dat files are Path.dat and Pathshadow.dat.
	Path string
	// OneShot: the process answers one question. Text is then searched, not kept in memory.
	OneShot bool
	// makeUserDB is the program that makes .dat files, run after a change of a password when they are in use;
	// empty = "makeuserdb" in /usr/sbin.
	makeUserDB string
	// Log gets one line, without newline, about what is wrong but does not stop service; nil = nowhere.
	Log func(line string)
	// now is the clock; nil = time.Now.
	now func() time.Time
}

// Module is a userdb as an authlib.Module. It sees a change of its files within 20 ms, that of a directory
// within a second. Files that then cannot be read are reported once, and the accounts stay as they were
// before.
type Module struct {
	config Config
	born   time.Time

	mu     sync.RWMutex
	state  state
	source source // nil before the first question, and when there are no files
	// existed says that a file of the database has been seen.
	existed bool
	// quiet is the time, in ns since born, until which nobody looks whether the files changed.
	quiet   atomic.Int64
	problem string // what was reported last
	readers *sync.WaitGroup

	// changes has an element for each change of a password that is under way.
	changes chan struct{}
}

var _ authlib.Module = (*Module)(nil)

// New returns a module. It opens nothing: a database that cannot be read is a temporary failure of each
// question.
func New(c Config) *Module {
	if c.Path == "" {
		c.Path = defaultPath
	}
	if c.makeUserDB == "" {
		c.makeUserDB = "/usr/sbin/makeuserdb"
	}
	if c.Log == nil {
		c.Log = func(string) {}
	}
	if c.now == nil {
		c.now = time.Now
	}
	return &Module{
		config: c, born: c.now(), readers: new(sync.WaitGroup), changes: make(chan struct{}, maxChanges),
	}
}

// Name returns "authuserdb".
func (m *Module) Name() string { return "authuserdb" }

// Check reports what would keep the module from answering: unreadable or missing files.
func (m *Module) Check() error {
	_, release, err := m.open()
	if err == nil {
		release()
	}
	return err
}

// Authenticate checks a password or a CRAM response.
func (m *Module) Authenticate(ctx context.Context, req *authlib.AuthRequest) (*authlib.Account, error) {
	user, ok := req.Login()
	if !ok {
		return nil, authlib.ErrRefused
	}
	r, err := m.find(user)
	if err != nil {
		return nil, err
	}
	a, err := r.account(user)
	if err != nil {
		return nil, err
	}
	if req.Type == authlib.AuthLogin {
		if err := r.check(ctx, user, req.Service, req.Password); err != nil {
			return nil, err
		}
		r.describe(a, req.Service)
		a.ClearPassword = req.Password
		return a, nil
	}
	name := cramField(req.Type)
	secret, ok := r.get(req.Service + "-" + name)
	if !ok {
		secret, ok = r.get(name)
	}
	if !ok {
		_, hash, _ := r.password(req.Service)
		clear := password.Clear(hash)
		switch {
		case clear == "":
			return nil, password.NoSecret(user, hash)
		case !password.VerifyCRAM(clear, req.Type, req.Challenge, req.Response):
			return nil, authlib.ErrRefused
		}
		a.ClearPassword = clear
		return a, nil
	}
	ok, err = password.VerifyCRAMSecret(secret, req.Type, req.Challenge, req.Response)
	switch {
	case err != nil:
		return nil, authlib.Unusable(user, "%s: %v", name, err)
	case !ok:
		return nil, authlib.ErrRefused
	}
	return a, nil
}

// check compares a clear password with the hash that decides for a service.
func (r record) check(ctx context.Context, user, service, clear string) error {
	_, hash, ok := r.password(service)
	if !ok || hash == "" {
		return authlib.ErrRefused
	}
	return password.Check(ctx, user, hash, clear)
}

// Lookup returns an account without a proof.
func (m *Module) Lookup(_ context.Context, req *authlib.LookupRequest) (*authlib.Account, error) {
	r, err := m.find(req.User)
	if err != nil {
		return nil, err
	}
	a, err := r.account(req.User)
	if err != nil {
		return nil, err
	}
	r.describe(a, req.Service)
	return a, nil
}

// Enumerate lists the accounts; those that could not log in for want of ids or a home are left out.
func (m *Module) Enumerate(ctx context.Context, yield func(*authlib.Account) error) error {
	src, release, err := m.open()
	if err != nil {
		return err
	}
	defer release()
	return src.each(func(name string, r record) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		a, err := r.account(name)
		if err != nil {
			return nil
		}
		return yield(a)
	})
}

// Close closes the files. Questions under way are answered first.
func (m *Module) Close() error {
	m.mu.Lock()
	src, readers := m.source, m.readers
	m.source, m.state, m.readers = nil, state{}, new(sync.WaitGroup)
	m.quiet.Store(0)
	m.mu.Unlock()
	readers.Wait()
	if src == nil {
		return nil
	}
	return src.close()
}

// find returns the fields of an account; the error is authlib.ErrRefused if there is none.
func (m *Module) find(name string) (record, error) {
	if name == "" || authlib.HasControl(name) {
		return "", authlib.ErrRefused
	}
	src, release, err := m.open()
	if err != nil {
		return "", err
	}
	defer release()
	r, ok, err := src.find(name)
	if err != nil {
		return "", err
	}
	if !ok {
		return "", authlib.ErrRefused
	}
	return r, nil
}

// open returns the database as it is now, which stays open until release. Where there has been none since the
// module was made the error is [authlib.ErrNoDatabase]: Courier's module has no accounts then. One that has
// vanished is a failure: its users' passwords are not wrong.
func (m *Module) open() (src source, release func(), err error) {
	now := m.config.now()
	m.mu.RLock()
	if m.source != nil && m.fresh(now) {
		defer m.mu.RUnlock()
		return m.hold()
	}
	m.mu.RUnlock()

	m.mu.Lock()
	defer m.mu.Unlock()
	if m.source != nil && m.fresh(now) {
		return m.hold()
	}
	s, directory, err := stateOf(m.config.Path)
	m.existed = m.existed || s != state{}
	var fresh source
	switch {
	case err != nil:
	case s.useDat():
		fresh, err = openDat(m.config.Path, !m.config.OneShot)
	case s == state{} && !m.existed:
		return nil, nil, fmt.Errorf("%s: no such file, nor what makeuserdb makes of it: %w", m.config.Path,
			authlib.ErrNoDatabase)
	case s == state{}:
		m.swap(nil, s)
		return nil, nil, fmt.Errorf("%s: no such file any more, nor what makeuserdb makes of it", m.config.Path)
	case !s.text.exists:
		err = fmt.Errorf("%s: no such file, and of %[1]s.dat and %[1]sshadow.dat only one: run makeuserdb",
			m.config.Path)
	case m.config.OneShot:
		fresh = scan{m.config.Path}
	default:
		fresh, err = loadIndex(m.config.Path)
	}
	if errors.Is(err, fs.ErrNotExist) && m.source == nil {
		err = fmt.Errorf("files vanish while they are read: %w", err)
	}
	if err != nil {
		if m.source == nil {
			return nil, nil, err
		}
		m.report(fmt.Sprintf("%v: the accounts stay as they were", err))
		m.state = state{}
		m.quiet.Store(int64(now.Sub(m.born) + quietTime))
		return m.hold()
	}
	if m.problem != "" {
		m.problem = ""
		m.config.Log("read again")
	}
	m.swap(fresh, s)
	m.lookAgain(now, directory)
	return m.hold()
}

// fresh tells whether the files are still those that were read.
func (m *Module) fresh(now time.Time) bool {
	if int64(now.Sub(m.born)) < m.quiet.Load() {
		return true
	}
	s, directory, err := stateOf(m.config.Path)
	if err != nil || s != m.state {
		return false
	}
	m.lookAgain(now, directory)
	return true
}

// lookAgain says when to look at the files again.
func (m *Module) lookAgain(now time.Time, directory bool) {
	wait := busyTime
	if directory {
		wait = quietTime
	}
	m.quiet.Store(int64(now.Sub(m.born) + wait))
}

// hold returns the source and keeps it open.
func (m *Module) hold() (source, func(), error) {
	m.readers.Add(1)
	return m.source, m.readers.Done, nil
}

// swap makes src the source; the old one is closed when its readers are done.
func (m *Module) swap(src source, s state) {
	if old, readers := m.source, m.readers; old != nil {
		m.readers = new(sync.WaitGroup)
		go func() {
			readers.Wait()
			_ = old.close()
		}()
	}
	m.source, m.state = src, s
	m.quiet.Store(0)
}

// report logs a problem once.
func (m *Module) report(line string) {
	if line != m.problem {
		m.problem = line
		m.config.Log(line)
	}
}
