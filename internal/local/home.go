package local

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"mailproxy/internal/safepath"

	"golang.org/x/sys/unix"
)

// makeHome makes a missing home directory from a skeleton directory: same modes, everything owned by the
// account. The home appears all at once or not at all, so that two first logins at a time do not meet in a
// half-made one; its parent has to exist. Links in the skeleton are copied as links; devices, sockets and
// pipes are errors.
//
// The parent may belong to another account, who may rename and replace in it anything while root works
// there. So no path is used twice: everything is done in a directory that is held open, is root's, and that
// nobody else can enter.
func makeHome(home, skeleton string, uid, gid int) (err error) {
	if _, err := os.Lstat(home); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("making the home: %w", err)
		}
	}()
	parent, base, err := openParent(home)
	if err != nil {
		return err
	}
	defer parent.Close()
	name := fmt.Sprintf(".%s.new-%s", base, strconv.FormatUint(rand.Uint64(), 36))
	if err := parent.Mkdir(name, 0o700); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, parent.RemoveAll(name)) }()
	work, err := parent.OpenRoot(name)
	if err != nil {
		return err
	}
	defer work.Close()
	if err := isOurs(work); err != nil {
		return err
	}
	if err := copyTree(skeleton, work, "home", uid, gid); err != nil {
		return err
	}
	return moveHome(work, parent, base)
}

// openParent opens the directory of a home. Another account's link on the way would have root make
// directories in places where that account may not even look.
func openParent(home string) (*os.Root, string, error) {
	parent, name, err := safepath.OpenParent(home)
	if err != nil {
		return nil, "", err
	}
	defer parent.Close()
	root, err := os.OpenRoot(fmt.Sprintf("/proc/self/fd/%d", parent.FD))
	return root, name, err
}

// isOurs says whether the directory is the one that was made: somebody may have put another in its place.
func isOurs(work *os.Root) error {
	info, err := work.Stat(".")
	if err != nil {
		return err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || int(st.Uid) != os.Geteuid() || info.Mode().Perm() != 0o700 {
		return errors.New("somebody has replaced the directory in which it is made")
	}
	return nil
}

// moveHome gives the finished home its name. What someone else made in the meantime is not replaced, not
// even an empty directory.
func moveHome(work, parent *os.Root, name string) error {
	from, err := work.Open(".")
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := parent.Open(".")
	if err != nil {
		return err
	}
	defer to.Close()
	err = unix.Renameat2(int(from.Fd()), "home", int(to.Fd()), name, unix.RENAME_NOREPLACE)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return &os.LinkError{Op: "rename", Old: "home", New: name, Err: err}
	}
	return nil
}

// copyTree copies one file of any kind, owner last: what belongs to the account is complete.
func copyTree(from string, root *os.Root, to string, uid, gid int) error {
	info, err := os.Lstat(from)
	if err != nil {
		return err
	}
	switch {
	case info.IsDir():
		if err := root.Mkdir(to, 0o700); err != nil {
			return err
		}
		entries, err := os.ReadDir(from)
		if err != nil {
			return err
		}
		for _, entry := range entries {
			source, target := filepath.Join(from, entry.Name()), filepath.Join(to, entry.Name())
			if err := copyTree(source, root, target, uid, gid); err != nil {
				return err
			}
		}
	case info.Mode().IsRegular():
		if err := copyFile(from, root, to); err != nil {
			return err
		}
	case info.Mode()&fs.ModeSymlink != 0:
		target, err := os.Readlink(from)
		if err != nil {
			return err
		}
		if err := root.Symlink(target, to); err != nil {
			return err
		}
		return root.Lchown(to, uid, gid)
	default:
		return fmt.Errorf("%s is neither a file, a directory nor a link", from)
	}
	// Changing the owner clears set-id bits, so the mode comes after it.
	if err := root.Lchown(to, uid, gid); err != nil {
		return err
	}
	return root.Chmod(to, info.Mode())
}

func copyFile(from string, root *os.Root, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := root.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
