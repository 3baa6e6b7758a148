package tlsconf

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"mailproxy/internal/smallfile"
)

const (
	// ticketSuffix follows TLS_CACHEFILE in the name of the ticket key file. TLS_CACHEFILE itself is a cache in
	// couriertls's own form, which couriertls may go on using beside us.
	ticketSuffix = ".keys"

	ticketRotation = 12 * time.Hour // age at which a new key encrypts tickets
	ticketKeep     = 3              // keys in the file: tickets stay good for 24 to 36 hours
	maxTicketFile  = 1024
	lockWait       = 200 * time.Millisecond // for another process that is about to write the file
)

var (
	errTicketMode  = errors.New("can be read or written by others")
	errTicketOwner = errors.New("belongs to somebody else")
	errTicketForm  = errors.New("is damaged")
)

// tickets sets the keys that session tickets are encrypted with. Without a key file that this process
// shares with its successors tickets are not given out: nobody could ever read them.
func (o *Options) tickets(cfg *tls.Config) {
	cache := o.TLS.CacheFile
	if cache == "" {
		cfg.SessionTicketsDisabled = true
		return
	}
	keys, err := loadTicketKeys(cache+ticketSuffix, o.now(), o.warn)
	if err != nil {
		o.warn("no TLS session resumption: %v", err)
		cfg.SessionTicketsDisabled = true
		return
	}
	set := make([][32]byte, len(keys))
	for i, k := range keys {
		set[i] = bind(k.secret, o.ticketPolicy())
	}
	cfg.SetSessionTicketKeys(set)
}

// ticketPolicy is what a ticket must not outlive: a session that was let in under one set of trusted
// certificates is not resumed under another.
func (o *Options) ticketPolicy() string {
	policy := "verify=" + string(o.TLS.Verify) + " trust=" + o.TLS.TrustCerts
	if st, err := os.Stat(o.TLS.TrustCerts); err == nil {
		policy += " " + strconv.FormatInt(st.ModTime().UnixNano(), 10) + " " + strconv.FormatInt(st.Size(), 10)
	}
	return policy
}

func bind(secret [32]byte, policy string) (key [32]byte) {
	mac := hmac.New(sha256.New, secret[:])
	io.WriteString(mac, policy)
	mac.Sum(key[:0])
	return key
}

// loadTicketKeys returns the keys of the file, newest first, after making or renewing the file where
// needed. Where this process cannot write, keys that are there serve whatever their age: somebody else renews
// them. A file that is damaged, or that anybody but its owner, root or this user, may read or write, is not
// believed: it is reported and replaced. A group may read root's.
func loadTicketKeys(path string, now time.Time, warn func(string, ...any)) ([]ticketKey, error) {
	keys, err := readTicketFile(path)
	if err == nil && !dueForRotation(keys, now) {
		return keys, nil
	}
	unlock, lockErr := lockTicketFile(path)
	if lockErr != nil {
		if err == nil {
			return keys, nil // old keys still serve; the holder of the lock renews them
		}
		return nil, fmt.Errorf("%s: %w (and not replaced: %w)", path, err, lockErr)
	}
	defer unlock()
	// Another process may have been faster.
	keys, err = readTicketFile(path)
	switch {
	case err == nil && !dueForRotation(keys, now):
		return keys, nil
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		warn("%s %v: replaced, no TLS session from before is resumed", path, err)
	}
	fresh := ticketKey{made: now.Unix()}
	if _, err := rand.Read(fresh.secret[:]); err != nil {
		return nil, err
	}
	renewed := append([]ticketKey{fresh}, keys...)
	renewed = renewed[:min(len(renewed), ticketKeep)]
	writeErr := writeTicketFile(path, renewed)
	switch {
	case writeErr == nil:
		return renewed, nil
	case err == nil:
		return keys, nil // somebody else renews them, who may write here
	default:
		return nil, writeErr
	}
}

// dueForRotation also holds for keys from the future, after a clock that was wrong.
func dueForRotation(keys []ticketKey, now time.Time) bool {
	age := now.Sub(time.Unix(keys[0].made, 0))
	return age >= ticketRotation || age < -time.Hour
}

// readTicketFile never follows a symbolic link.
func readTicketFile(path string) ([]ticketKey, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return nil, err
	}
	others := uint32(0o077)
	if st.Uid == 0 {
		others = 0o037 // root may let a group read it
	}
	switch {
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		return nil, smallfile.ErrNotRegular
	case st.Uid != 0 && int(st.Uid) != os.Geteuid():
		return nil, errTicketOwner
	case st.Mode&others != 0:
		return nil, errTicketMode
	}
	data, err := io.ReadAll(io.LimitReader(f, maxTicketFile+1))
	if err != nil {
		return nil, err
	}
	return parseTicketKeys(data)
}

// writeTicketFile makes a new file and renames it over the old one: readers see one or the other, whole.
func writeTicketFile(path string, keys []ticketKey) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*") // O_EXCL, mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	var old unix.Stat_t
	if unix.Lstat(path, &old) == nil && old.Uid == 0 && os.Geteuid() == 0 && old.Mode&0o7777 == 0o640 {
		err = errors.Join(tmp.Chown(0, int(old.Gid)), tmp.Chmod(0o640)) // the group goes on reading it
	}
	if err == nil {
		_, err = tmp.Write(formatTicketKeys(keys))
	}
	if cerr := tmp.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path)
}

// lockTicketFile waits a moment for the right to replace path. The lock file stays; it is empty.
func lockTicketFile(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path+".lock", os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	for end := time.Now().Add(lockWait); ; time.Sleep(5 * time.Millisecond) {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) || time.Now().After(end) {
			f.Close()
			return nil, fmt.Errorf("lock %s.lock: %w", path, err)
		}
	}
}
