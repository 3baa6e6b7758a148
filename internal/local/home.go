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
	"strings"
	"syscall"

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
	home = filepath.Clean(home)
	parent, err := openParent(filepath.Dir(home))
	if err != nil {
		return err
	}
	defer parent.Close()
	name := fmt.Sprintf(".%s.new-%s", filepath.Base(home), strconv.FormatUint(rand.Uint64(), 36))
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
	return moveHome(work, parent, filepath.Base(home))
}

// maxLinks is how many symbolic links a path may have, as for the kernel (path_resolution(7)).
const maxLinks = 40

// openParent opens a directory by its absolute path. Symbolic links on the way are followed where root alone
// can have put them: /home is one on some machines. Another account's link would have root make directories
// in places where that account may not even look.
func openParent(path string) (*os.Root, error) {
	if !filepath.IsAbs(path) {
		return nil, fmt.Errorf("%s is not an absolute path", path)
	}
	for range maxLinks {
		dir, target, err := openReal(path)
		if target == "" {
			return dir, err
		}
		path = target
	}
	return nil, fmt.Errorf("%s: %w", path, syscall.ELOOP)
}

// openReal opens a directory by its absolute path, one name after the other. At a link that may be followed
// it returns the path to which that leads instead.
func openReal(path string) (dir *os.Root, target string, err error) {
	if dir, err = os.OpenRoot("/"); err != nil {
		return nil, "", err
	}
	names := strings.FieldsFunc(path, func(r rune) bool { return r == '/' })
	for i, name := range names {
		here := "/" + filepath.Join(names[:i]...)
		info, err := dir.Lstat(name)
		if err == nil && info.Mode()&fs.ModeSymlink != 0 {
			target, err = readLink(dir, here, name)
			dir.Close()
			if err != nil {
				return nil, "", err
			}
			return nil, filepath.Join(target, filepath.Join(names[i+1:]...)), nil
		}
		var next *os.Root
		if err == nil {
			next, err = openSame(dir, name, info)
		}
		dir.Close()
		if err != nil {
			return nil, "", fmt.Errorf("%s: %w", filepath.Join(here, name), err)
		}
		dir = next
	}
	return dir, "", nil
}

// openSame opens the directory that Lstat has told of, and nothing that somebody has put in its place since.
func openSame(dir *os.Root, name string, info fs.FileInfo) (*os.Root, error) {
	next, err := dir.OpenRoot(name)
	if err != nil {
		return nil, err
	}
	now, err := next.Stat(".")
	if err == nil && !os.SameFile(info, now) {
		err = errors.New("somebody has replaced it")
	}
	if err != nil {
		next.Close()
		return nil, err
	}
	return next, nil
}

// readLink returns the path to which a link in dir leads, whose own path is here, if root alone can have put
// it there.
func readLink(dir *os.Root, here, name string) (string, error) {
	info, err := dir.Stat(".")
	if err != nil {
		return "", err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || st.Uid != 0 && int(st.Uid) != os.Geteuid() || info.Mode().Perm()&0o022 != 0 {
		return "", fmt.Errorf("%s is a link in a directory where others can replace it", filepath.Join(here, name))
	}
	target, err := dir.Readlink(name)
	if err == nil && !filepath.IsAbs(target) {
		target = filepath.Join(here, target)
	}
	return target, err
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
