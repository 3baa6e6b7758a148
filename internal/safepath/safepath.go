// Package safepath opens files by paths into which other users may put a link, at any moment, that leads root
// to places where they have no access themselves.
//
// A path is opened name by name, each in the directory opened before; the operation at its end is done in an
// open directory too. A link is followed only if no user except root and this process's own can have put it
// there: /var/run and, on some machines, /home are such.
package safepath

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// maxLinks is how many symbolic links a path may have, as for the kernel (path_resolution(7)).
const maxLinks = 40

// File is an open file of any kind (O_PATH), and what fstat said of it.
type File struct {
	FD   int
	Path string // without links
	Stat unix.Stat_t
}

// Close closes the file.
func (f *File) Close() { unix.Close(f.FD) }

// Kind is the file's type: unix.S_IFDIR, ...
func (f *File) Kind() uint32 { return f.Stat.Mode & unix.S_IFMT }

// IsAlone says that nobody but root and the user can put anything into the directory.
func (f *File) IsAlone(uid int) bool {
	return (f.Stat.Uid == 0 || int(f.Stat.Uid) == uid) && f.Stat.Mode&0o022 == 0
}

// OpenAt opens what name is in the directory, which may be a link. The caller closes it.
func (f *File) OpenAt(name string) (*File, error) { return openAt(f.FD, f.Path, name) }

func openAt(dir int, path, name string) (*File, error) {
	f := &File{Path: filepath.Join(path, name)}
	var err error
	if f.FD, err = unix.Openat(dir, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0); err != nil {
		return nil, &os.PathError{Op: "open", Path: f.Path, Err: err}
	}
	if err = unix.Fstat(f.FD, &f.Stat); err != nil {
		f.Close()
		return nil, &os.PathError{Op: "stat", Path: f.Path, Err: err}
	}
	return f, nil
}

// OpenParent opens the directory that holds what an absolute path leads to, and returns the name that this
// has, or would have, there. The caller closes the directory.
func OpenParent(path string) (dir *File, name string, err error) {
	if !filepath.IsAbs(path) {
		return nil, "", fmt.Errorf("%s: not an absolute path", path)
	}
	names := split(filepath.Clean(path))
	if len(names) == 0 {
		names = []string{"."}
	}
	for range maxLinks + 1 {
		dir, other, err := walk(names)
		if other == nil {
			return dir, names[len(names)-1], err
		}
		names = other
	}
	return nil, "", &os.PathError{Op: "open", Path: path, Err: unix.ELOOP}
}

// walk opens the directory of the last of the names, which begin at the root. At a link that may be followed
// it returns those that lead to the same place by another way.
func walk(names []string) (dir *File, other []string, err error) {
	if dir, err = openAt(unix.AT_FDCWD, "", "/"); err != nil {
		return nil, nil, err
	}
	for i, name := range names[:len(names)-1] {
		next, err := dir.OpenAt(name)
		if err == nil && next.Kind() != unix.S_IFDIR {
			var target []string
			target, err = dir.follow(next)
			other = append(target, names[i+1:]...)
			next.Close()
		}
		dir.Close()
		switch {
		case err != nil:
			return nil, nil, err
		case other != nil:
			return nil, other, nil
		}
		dir = next
	}
	return dir, nil, nil
}

// follow returns the names that lead from the root to where a link in the directory leads.
func (f *File) follow(link *File) ([]string, error) {
	if link.Kind() != unix.S_IFLNK || !f.IsAlone(os.Geteuid()) {
		return nil, fmt.Errorf("%s: not a directory but a file, or a link that others can replace", link.Path)
	}
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(link.FD, "", buf)
	if err != nil {
		return nil, &os.PathError{Op: "readlink", Path: link.Path, Err: err}
	}
	target := string(buf[:n])
	if !filepath.IsAbs(target) {
		target = f.Path + "/" + target // not Join, which drops what stands before ".."
	}
	return split(target), nil
}

func split(path string) []string {
	return strings.FieldsFunc(path, func(r rune) bool { return r == '/' })
}
