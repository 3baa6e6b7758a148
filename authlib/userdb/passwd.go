package userdb

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"mailproxy/authlib"
	"mailproxy/authlib/password"
)

// cramTypes are the types whose secrets follow a change of the password.
var cramTypes = [...]authlib.AuthType{authlib.AuthCRAMMD5, authlib.AuthCRAMSHA1, authlib.AuthCRAMSHA256}

// ChangePassword changes the hash that decides for the service, and those CRAM secrets that belong to the old
// password, in the text file, which is replaced as a whole. Then makeuserdb runs if .dat files are there; if
// it fails, the text, being younger, is read from then on.
func (m *Module) ChangePassword(ctx context.Context, req *authlib.PasswordRequest) error {
	select {
	case m.changes <- struct{}{}:
		defer func() { <-m.changes }()
	default:
		return fmt.Errorf("%d changes of passwords wait already", maxChanges)
	}
	if req.User == "" || authlib.HasControl(req.User) || authlib.HasControl(req.NewPassword) ||
		req.NewPassword == "" {
		return fmt.Errorf("empty name or password, or control characters in it: %w", authlib.ErrRefused)
	}
	r, err := m.find(req.User)
	if err != nil {
		return err
	}
	if _, err := r.account(req.User); err != nil { // nobody could log in with the new password
		return err
	}
	path, err := filepath.EvalSymlinks(m.config.Path)
	if err != nil {
		return err
	}
	unlock, err := lock(ctx, path)
	if err != nil {
		return fmt.Errorf("lock: %w", err)
	}
	defer unlock()
	files, err := textFiles(path)
	if err != nil {
		return err
	}
	for _, file := range files {
		found, err := changeFile(ctx, file, req)
		if err != nil {
			return err
		}
		if found {
			m.rebuild(ctx)
			m.quiet.Store(0)
			return nil
		}
	}
	return authlib.ErrRefused
}

// At most maxChanges changes wait for the lock, each for lockTime, and try again every lockPause. The wait is
// bounded because each of them takes one of authdaemond's places, and the lock's holder may never release it.
const (
	maxChanges = 8
	lockTime   = 5 * time.Second
	lockPause  = 20 * time.Millisecond
)

// lock takes the lock that Courier's userdb(8) takes before it writes; our own changes wait for each other by
// it as well.
func lock(ctx context.Context, path string) (unlock func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, lockTime)
	defer cancel()
	f, err := os.OpenFile(filepath.Join(filepath.Dir(path), ".lock."+filepath.Base(path)),
		os.O_WRONLY|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == unix.EWOULDBLOCK {
			select {
			case <-time.After(lockPause):
				continue
			case <-ctx.Done():
				err = fmt.Errorf("another process has it, which may be makeuserdb: %w", ctx.Err())
			}
		}
		if err != nil {
			f.Close()
			return nil, fmt.Errorf("%s: %w", f.Name(), err)
		}
		return func() { f.Close() }, nil
	}
}

// changeFile changes the password in one file, if the account is in it.
func changeFile(ctx context.Context, path string, req *authlib.PasswordRequest) (found bool, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return false, err
	}
	start := []byte(req.User + "\t")
	from := 0
	if !bytes.HasPrefix(text, start) {
		if from = bytes.Index(text, append([]byte("\n"), start...)) + 1; from == 0 {
			return false, nil
		}
	}
	if req.User[0] == '#' {
		return false, nil
	}
	from += len(start)
	to := len(text)
	if i := bytes.IndexByte(text[from:], '\n'); i >= 0 {
		to = from + i
	}
	if text[to-1] == '\r' {
		to--
	}
	r, err := record(text[from:to]).change(ctx, req)
	if err != nil {
		return true, err
	}
	return true, replaceFile(path, text[:from], []byte(r), text[to:])
}

// change returns the record with a new password.
func (r record) change(ctx context.Context, req *authlib.PasswordRequest) (record, error) {
	if err := r.check(ctx, req.User, req.Service, req.OldPassword); err != nil {
		return "", err
	}
	field, old, _ := r.password(req.Service)
	hash, err := password.Hash(keep(old), req.NewPassword)
	if err != nil {
		return "", err
	}
	if strings.ContainsAny(hash, "|\n") {
		return "", fmt.Errorf("the new hash cannot be stored")
	}
	values := map[string]string{field: hash}
	for _, t := range cramTypes {
		for _, name := range [2]string{req.Service + "-" + cramField(t), cramField(t)} {
			secret, ok := r.get(name)
			if ok && strings.EqualFold(secret, password.CRAMSecret(req.OldPassword, t)) {
				values[name] = password.CRAMSecret(req.NewPassword, t)
			}
		}
	}
	return r.replace(values), nil
}

// keep returns what a new hash is to be like. Courier writes $1$ always; what is stronger, or clear on
// purpose, stays as it is.
func keep(old string) string {
	name, rest := "", old
	if strings.HasPrefix(old, "{") {
		name, rest, _ = strings.Cut(strings.ToUpper(old), "}")
		name, _, _ = strings.Cut(name, ".")
	}
	switch name {
	case "{PBKDF2", "{SCRAM-SHA-1", "{SCRAM-SHA-256", "{PLAIN", "{CLEAR", "{CLEARTEXT":
		return old
	}
	for _, strong := range [...]string{"$2", "$5$", "$6$", "$7$", "$y$", "$argon2"} {
		if strings.HasPrefix(strings.ToLower(rest), strong) {
			return old
		}
	}
	return "$1$"
}

// replaceFile replaces a file by the concatenation of parts, keeping owner and mode; readers see
// the old or the new one, whole.
func replaceFile(path string, parts ...[]byte) (err error) {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	// The name begins with a dot: makeuserdb and we skip it should it be left behind in a directory.
	tmp, err := os.CreateTemp(filepath.Dir(path), ".tmp."+filepath.Base(path))
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			tmp.Close()
			os.Remove(tmp.Name())
		}
	}()
	if sys, ok := info.Sys().(*syscall.Stat_t); ok &&
		(int(sys.Uid) != os.Geteuid() || int(sys.Gid) != os.Getegid()) {
		if err := tmp.Chown(int(sys.Uid), int(sys.Gid)); err != nil {
			return err
		}
	}
	if err := tmp.Chmod(info.Mode().Perm()); err != nil {
		return err
	}
	for _, part := range parts {
		if _, err := tmp.Write(part); err != nil {
			return err
		}
	}
	if err := tmp.Sync(); err != nil {
		return err
	}
	if err := tmp.Close(); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path)
}

// rebuild runs makeuserdb when there are .dat files.
func (m *Module) rebuild(ctx context.Context) {
	s, _, err := stateOf(m.config.Path)
	if err != nil || !s.main.exists {
		return
	}
	args := []string{}
	if m.config.Path != defaultPath {
		args = append(args, "-f", m.config.Path)
	}
	cmd := exec.CommandContext(ctx, m.config.makeUserDB, args...)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
	cmd.WaitDelay = time.Second // for what it has left behind
	if out, err := cmd.CombinedOutput(); err != nil {
		line, _, _ := strings.Cut(string(out), "\n")
		m.config.Log(
			fmt.Sprintf("%s: %v: %.200q: the text file is read from now on", m.config.makeUserDB, err, line),
		)
	}
}
