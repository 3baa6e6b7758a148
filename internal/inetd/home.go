package inetd

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// makeHome makes a missing home directory from a skeleton folder: same modes, everything owned by the account. The home
// appears all at once or not at all, so that two first logins at a time do not meet in a half-made one; its parent has
// to exist. Nobody but root can reach into it before it is complete, so no link can lead the copying astray. Links in
// the skeleton are copied as links; devices, sockets and pipes are errors.
func makeHome(home, skeleton string, uid, gid int) (err error) {
	if _, err := os.Lstat(home); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	home = filepath.Clean(home)
	work, err := os.MkdirTemp(filepath.Dir(home), "."+filepath.Base(home)+".new-")
	if err != nil {
		return fmt.Errorf("making the home: %w", err)
	}
	defer func() {
		if err != nil {
			os.RemoveAll(work)
		}
	}()
	if err := copyTree(skeleton, filepath.Join(work, "home"), uid, gid); err != nil {
		return fmt.Errorf("making the home: %w", err)
	}
	// An empty folder that someone else made in the meantime must not be replaced.
	err = unix.Renameat2(unix.AT_FDCWD, filepath.Join(work, "home"), unix.AT_FDCWD, home, unix.RENAME_NOREPLACE)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("making the home: %w", &os.LinkError{Op: "rename", Old: work, New: home, Err: err})
	}
	return os.RemoveAll(work)
}

// copyTree copies one file of any kind, owner last: what belongs to the account is complete.
func copyTree(from, to string, uid, gid int) error {
	info, err := os.Lstat(from)
	if err != nil {
		return err
	}
	switch {
	case info.IsDir():
		if err := os.Mkdir(to, 0o700); err != nil {
			return err
		}
		entries, err := os.ReadDir(from)
		if err != nil {
			return err
		}
		for _, entry := range entries {
			if err := copyTree(filepath.Join(from, entry.Name()), filepath.Join(to, entry.Name()), uid, gid); err != nil {
				return err
			}
		}
	case info.Mode().IsRegular():
		if err := copyFile(from, to); err != nil {
			return err
		}
	case info.Mode()&fs.ModeSymlink != 0:
		target, err := os.Readlink(from)
		if err != nil {
			return err
		}
		if err := os.Symlink(target, to); err != nil {
			return err
		}
		return os.Lchown(to, uid, gid)
	default:
		return fmt.Errorf("%s is neither a file, a folder nor a link", from)
	}
	// Changing the owner clears set-id bits, so the mode comes after it.
	if err := os.Lchown(to, uid, gid); err != nil {
		return err
	}
	return os.Chmod(to, info.Mode())
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
