package throttle

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	mathrand "math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// The file: a hole where the first version had its only table, for processes that still run as that write
// there; a header (8 bytes magic, 4 bytes version, 4 bytes unused, the key); and after it the tables, one
// after the other.
const (
	headerStart = version1Size
	magic       = "MPthrott"
	version     = 2
	keySize     = 32
	headerSize  = 4096
	keyOffset   = 16

	buckets   = 1024 // of each table
	tableSize = buckets * bucketSize

	version1Size = tableSize
	version1Kind = 2
)

// lockWait is how long a lock is waited for. Its holder keeps it for microseconds, unless the machine has
// stopped it.
const lockWait = 100 * time.Millisecond

// errBusy says that somebody else has held a lock for too long. The table is as it was.
var errBusy = errors.New("locked by another process")

var errNoTable = errors.New("it is no throttle table: remove it, or name another file")

func open(path string) (*Table, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
	if err != nil {
		return nil, errors.Unwrap(err) // the path is named already
	}
	t := newFileTable(f)
	if err = t.check(); err == nil {
		err = t.locked(headerStart, headerSize, t.readHeader)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return t, nil
}

func newFileTable(f *os.File) *Table {
	t := &Table{f: f}
	t.buckets = t
	return t
}

func inspect(path string) error {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		// Open would make it.
		return unix.Access(filepath.Dir(path), unix.W_OK|unix.X_OK)
	}
	if err != nil {
		return errors.Unwrap(err) // the path is named already
	}
	defer f.Close()
	t := newFileTable(f)
	if err := t.check(); err != nil {
		return err
	}
	known, _, err := t.header()
	if err == nil && !known {
		err = t.checkVersion1()
	}
	return err
}

// check says whether the file is one that nobody else can have made or can change: root would write into it
// by another's wish, and others could slow down addresses of their choice.
func (t *Table) check() error {
	var st unix.Stat_t
	if err := unix.Fstat(int(t.f.Fd()), &st); err != nil {
		return err
	}
	switch {
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		return errors.New("it is no regular file")
	case int(st.Uid) != os.Geteuid() || fs.FileMode(st.Mode)&0o022 != 0:
		return fmt.Errorf("it must be a file of uid %d that nobody else may write", os.Geteuid())
	case st.Nlink != 1:
		return errors.New("it must have no second name (hard link)")
	}
	return nil
}

// header reads the file's header. Known: it is one of ours, of whatever version.
func (t *Table) header() (known bool, header [headerSize]byte, err error) {
	n, err := t.f.ReadAt(header[:], headerStart)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return n >= keyOffset+keySize && string(header[:len(magic)]) == magic, header, err
}

// readHeader reads the key, and makes a new file, or one of an older version, a table of this version.
func (t *Table) readHeader() error {
	known, header, err := t.header()
	if err != nil {
		return err
	}
	if known && binary.LittleEndian.Uint32(header[len(magic):]) == version {
		copy(t.key[:], header[keyOffset:])
		return nil
	}
	if !known {
		if err := t.checkVersion1(); err != nil {
			return err
		}
	}
	// The tables first: a process that ends in between leaves a file that the next one begins anew.
	if err := t.f.Truncate(0); err != nil {
		return err
	}
	header = [headerSize]byte{}
	copy(header[:], magic)
	binary.LittleEndian.PutUint32(header[len(magic):], version)
	rand.Read(header[keyOffset : keyOffset+keySize])
	copy(t.key[:], header[keyOffset:])
	_, err = t.f.WriteAt(header[:], headerStart)
	return err
}

// checkVersion1 says whether a file without a header is empty, or a table of the first version: whole
// buckets, and entries of two kinds. What else it may be, a setting that names a wrong file must not destroy.
func (t *Table) checkVersion1() error {
	info, err := t.f.Stat()
	if err != nil {
		return err
	}
	if info.Size()%bucketSize != 0 || info.Size() > version1Size {
		return errNoTable
	}
	content := make([]byte, info.Size())
	if _, err := t.f.ReadAt(content, 0); err != nil {
		return err
	}
	for ; len(content) > 0; content = content[entrySize:] {
		if binary.LittleEndian.Uint32(content[entrySize-4:]) > version1Kind {
			return errNoTable
		}
	}
	return nil
}

// change reads the bucket that id belongs to, lets do change it, and writes it back, all under the bucket's
// lock.
func (t *Table) change(in tableKind, id uint64, now time.Time, do func(b *bucket)) error {
	offset := headerStart + headerSize + int64(in)*tableSize + int64(bucketNumber(id))*bucketSize
	err := t.locked(offset, bucketSize, func() error {
		var raw, before [bucketSize]byte
		if _, err := t.f.ReadAt(raw[:], offset); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		before = raw
		var b bucket
		b.decode(&raw, now)
		do(&b)
		b.encode(&raw)
		if raw == before {
			return nil
		}
		_, err := t.f.WriteAt(raw[:], offset)
		return err
	})
	if err != nil {
		return fmt.Errorf("throttle table %s: %w", t.f.Name(), err)
	}
	return nil
}

// locked runs fn while this Table alone has a part of the file. Open file description locks, unlike flock,
// cover a range, and unlike fcntl's older locks are not shared by the process's other file descriptors of the
// file; the goroutines of one Table share them, so these have a mutex too. The kernel can wait for them only
// without a limit, so they are tried, after growing pauses, until lockWait is over.
func (t *Table) locked(start, length int64, fn func() error) error {
	lock := unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart, Start: start, Len: length}
	end := time.Now().Add(lockWait)
	for pause := 100 * time.Microsecond; ; pause = min(2*pause, time.Millisecond) {
		err := error(unix.EAGAIN)
		if t.mu.TryLock() {
			if err = unix.FcntlFlock(t.f.Fd(), unix.F_OFD_SETLK, &lock); err == nil {
				break
			}
			t.mu.Unlock()
		}
		if err != unix.EAGAIN && err != unix.EACCES && err != unix.EINTR {
			return os.NewSyscallError("fcntl", err)
		}
		if time.Now().After(end) {
			return errBusy
		}
		time.Sleep(pause/2 + mathrand.N(pause)) // not all at the same time again
	}
	defer func() {
		lock.Type = unix.F_UNLCK
		_ = unix.FcntlFlock(t.f.Fd(), unix.F_OFD_SETLK, &lock) // closing the file unlocks as well
		t.mu.Unlock()
	}()
	return fn()
}
