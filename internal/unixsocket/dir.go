package unixsocket

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// maxLinks is how many symbolic links a path may have, as for the kernel (path_resolution(7)).
const maxLinks = 40

// dir is an open directory (O_PATH) and what fstat said of it.
type dir struct {
	fd   int
	path string
	stat unix.Stat_t
}

func (d *dir) close() { unix.Close(d.fd) }

// alone tells that nobody but root and uid can put anything into the directory.
func (d *dir) alone(uid int) bool {
	return (d.stat.Uid == 0 || int(d.stat.Uid) == uid) && d.stat.Mode&0o022 == 0
}

// openAt opens what name is in d, without following a link.
func (d *dir) openAt(name string) (*dir, error) {
	next := &dir{path: filepath.Join(d.path, name)}
	var err error
	if next.fd, err = unix.Openat(d.fd, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0); err != nil {
		return nil, &os.PathError{Op: "open", Path: next.path, Err: err}
	}
	if err = unix.Fstat(next.fd, &next.stat); err != nil {
		next.close()
		return nil, &os.PathError{Op: "stat", Path: next.path, Err: err}
	}
	return next, nil
}

// kind is the file type of what was opened.
func (d *dir) kind() uint32 { return d.stat.Mode & unix.S_IFMT }

func openRoot() (*dir, error) {
	fd, err := unix.Open("/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: "/", Err: err}
	}
	d := &dir{fd: fd, path: "/"}
	if err := unix.Fstat(fd, &d.stat); err != nil {
		d.close()
		return nil, &os.PathError{Op: "stat", Path: "/", Err: err}
	}
	return d, nil
}

// openDir opens a directory by its absolute path, one name after the other. The last name must not be a link.
// Links in front of it are followed where nobody but root and this process's user can have put them: /var/run
// is one. An error of the last name alone comes with its parent, open.
func openDir(path string) (d, parent *dir, err error) {
	if !filepath.IsAbs(path) {
		return nil, nil, fmt.Errorf("%s: not an absolute path", path)
	}
	names := strings.FieldsFunc(filepath.Clean(path), func(r rune) bool { return r == '/' })
	if d, err = openRoot(); err != nil {
		return nil, nil, err
	}
	links := 0
	for len(names) > 0 {
		name, rest := names[0], names[1:]
		next, err := d.openAt(name)
		switch {
		case err != nil && len(rest) == 0:
			return nil, d, err
		case err != nil:
			d.close()
			return nil, nil, err
		case next.kind() == unix.S_IFDIR:
			d.close()
			d, names = next, rest
			continue
		case next.kind() != unix.S_IFLNK || len(rest) == 0 || !d.alone(os.Geteuid()) || links == maxLinks:
			next.close()
			d.close()
			return nil, nil, fmt.Errorf("%s: not a directory but a link or a file, or a link that others can replace",
				next.path)
		}
		links++
		target, err := readLink(next)
		next.close()
		if err == nil && filepath.IsAbs(target) {
			d.close()
			d, err = openRoot()
		}
		if err != nil {
			return nil, nil, err
		}
		names = append(strings.FieldsFunc(target, func(r rune) bool { return r == '/' }), rest...)
	}
	return d, nil, nil
}

// readLink returns where an opened link leads.
func readLink(d *dir) (string, error) {
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(d.fd, "", buf)
	if err != nil {
		return "", &os.PathError{Op: "readlink", Path: d.path, Err: err}
	}
	return string(buf[:n]), nil
}
