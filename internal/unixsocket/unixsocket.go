// Package unixsocket makes the unix sockets that a service listens on when systemd has made none.
//
// A service that root starts, and that then becomes an ordinary user, works on paths in directories that this
// or another user may be able to write to. There a link or a rename at the right moment could make root
// create, give away or open a file of the attacker's choice. So nothing here is done by a path's name. The
// directory is opened without following links and looked at; the socket is bound relative to it, with its
// mode from the beginning, and appears under its name when it listens. Where the directory is the service's
// own, its user's rights are what the file system is asked with.
package unixsocket

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"

	"mailproxy/internal/identity"
	"mailproxy/internal/safepath"
)

// ErrInUse reports that there is a service at the path already.
var ErrInUse = errors.New("another process listens there")

// Socket says what to make.
type Socket struct {
	// Path of the socket. Its directory must belong to root, to this process's user or to User, and nobody
	// else may write to it.
	Path string
	// Type is unix.SOCK_STREAM or unix.SOCK_SEQPACKET.
	Type int
	// Mode of the socket, such as 0660. Write permission lets callers connect.
	Mode uint32
	// User is who the service becomes, when root starts it; nil = it stays what it is.
	User *identity.User
	// MakeDir makes the directory, mode 0750 and for the group of User, when it is not there.
	MakeDir bool
}

// Listener is a listening socket. Closing it leaves the file: see Remove.
type Listener struct {
	*net.UnixListener
	dir  *safepath.File
	name string
	ino  uint64
	user *identity.User
}

// backlog is how many callers wait, as in the units of systemd. The kernel takes no more than
// net.core.somaxconn.
const backlog = 1024

// Listen makes the socket. A socket without a listening process is replaced; one with a listening process is
// ErrInUse. Any other file of that name is left alone, and is an error.
func (s *Socket) Listen() (*Listener, error) {
	name := filepath.Base(s.Path)
	d, err := s.directory()
	if err != nil {
		return nil, fmt.Errorf("socket %s: %w", s.Path, err)
	}
	l := &Listener{dir: d, name: name}
	if int(d.Stat.Uid) != os.Geteuid() {
		l.user = s.User
	}
	err = do(l.user, func() error { return l.listen(s) })
	if err != nil {
		d.Close()
		return nil, fmt.Errorf("socket %s: %w", s.Path, err)
	}
	return l, nil
}

// directory opens the directory of the socket, or makes it, and looks whose it is.
func (s *Socket) directory() (*safepath.File, error) {
	path := filepath.Dir(s.Path)
	parent, name, err := safepath.OpenParent(path)
	if err != nil {
		return nil, err
	}
	defer parent.Close()
	d, err := parent.OpenAt(name)
	if s.MakeDir && errors.Is(err, os.ErrNotExist) {
		d, err = s.mkdir(parent, name)
	}
	if err != nil {
		return nil, err
	}
	if d.Kind() != unix.S_IFDIR {
		defer d.Close()
		return nil, fmt.Errorf("%s: not a directory but a link or a file", path)
	}
	euid := os.Geteuid()
	own := int(d.Stat.Uid) == euid || euid == 0 && s.User != nil && d.Stat.Uid == s.User.UID
	if !own || d.Stat.Mode&0o022 != 0 {
		defer d.Close()
		who := "this process's user"
		if euid == 0 && s.User != nil {
			who = fmt.Sprintf("root or user %d", s.User.UID)
		}
		return nil, fmt.Errorf("directory %s belongs to user %d and has mode %04o: "+
			"it must belong to %s, and nobody else may write to it", path, d.Stat.Uid, d.Stat.Mode&0o7777, who)
	}
	return d, nil
}

// mkdir makes the directory: as root's and for the service's group where root is alone in the parent; else
// with the rights of the service's user, whose own it then is.
func (s *Socket) mkdir(parent *safepath.File, name string) (d *safepath.File, err error) {
	var as, group *identity.User
	switch euid := os.Geteuid(); {
	case parent.IsAlone(euid) && euid == 0:
		group = s.User
	case parent.IsAlone(euid):
	case euid == 0 && s.User != nil:
		as = s.User
	default:
		return nil, fmt.Errorf("%s is not there, and is not made in %s, which others can write to",
			name, parent.Path)
	}
	err = do(as, func() error {
		err := makeAt(parent, name, group)
		if err == nil || err == unix.EEXIST { // made by somebody else: directory() looks whose it is
			d, err = parent.OpenAt(name)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("make %s: %w", filepath.Join(parent.Path, name), err)
	}
	return d, nil
}

// makeAt makes a directory for this thread's user and for the group, if one is given, whatever the umask is.
func makeAt(parent *safepath.File, name string, group *identity.User) error {
	if err := unix.Mkdirat(parent.FD, name, 0o700); err != nil {
		return err
	}
	fd, err := unix.Openat(parent.FD, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if group != nil {
		if err := unix.Fchown(fd, -1, int(group.GID)); err != nil {
			return err
		}
	}
	return unix.Fchmod(fd, 0o750)
}

// bound is what the names begin with that sockets are bound to here.
const bound = "/proc/self/fd/"

// Packets makes a listener of a copy of a file that has to be a unix socket of type SOCK_SEQPACKET.
func Packets(f *os.File) (*net.UnixListener, error) {
	l, err := net.FileListener(f)
	if err != nil {
		return nil, err
	}
	u, ok := l.(*net.UnixListener)
	if !ok || l.Addr().Network() != "unixpacket" {
		l.Close()
		return nil, errPackets
	}
	return u, nil
}

var errPackets = errors.New("not a unix socket of type SOCK_SEQPACKET")

// Path is where l listens. One that Listen has made, here or in the process before this one, has kept no name
// that says so: path is what it was made for then.
func Path(l net.Listener, path string) string {
	if name := l.Addr().String(); !strings.HasPrefix(name, bound) {
		return name
	}
	return path
}

// listen binds the socket under another name, listens and gives it its name.
func (l *Listener) listen(s *Socket) error {
	if err := l.vacant(s.Type); err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_UNIX, s.Type|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	f := os.NewFile(uintptr(fd), l.name)
	defer f.Close()
	temporary := fmt.Sprintf(".%s.%d", l.name, os.Getpid())
	if err := unix.Unlinkat(l.dir.FD, temporary, 0); err != nil && err != unix.ENOENT {
		return os.NewSyscallError("unlinkat", err)
	}
	mask := unix.Umask(int(0o777 &^ s.Mode))
	err = unix.Bind(fd, &unix.SockaddrUnix{Name: fmt.Sprintf(bound+"%d/%s", l.dir.FD, temporary)})
	unix.Umask(mask)
	if err != nil {
		return os.NewSyscallError("bind", err)
	}
	err = os.NewSyscallError("listen", unix.Listen(fd, backlog))
	var made unix.Stat_t
	if err == nil {
		err = os.NewSyscallError("fstatat", unix.Fstatat(l.dir.FD, temporary, &made, unix.AT_SYMLINK_NOFOLLOW))
	}
	if err == nil {
		err = os.NewSyscallError("renameat", unix.Renameat(l.dir.FD, temporary, l.dir.FD, l.name))
	}
	if err != nil {
		_ = unix.Unlinkat(l.dir.FD, temporary, 0)
		return err
	}
	l.ino = made.Ino
	nl, err := net.FileListener(f)
	if err != nil {
		return err
	}
	l.UnixListener = nl.(*net.UnixListener)
	l.SetUnlinkOnClose(false)
	return nil
}

// vacant returns nil when there is nothing of the socket's name, or a socket that nobody listens on.
func (l *Listener) vacant(kind int) error {
	there, err := l.dir.OpenAt(l.name)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer there.Close()
	if there.Kind() != unix.S_IFSOCK {
		return errors.New("there is something that is not a socket")
	}
	fd, err := unix.Socket(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	err = unix.Connect(fd, &unix.SockaddrUnix{Name: fmt.Sprintf("/proc/self/fd/%d", there.FD)})
	switch err {
	case unix.ECONNREFUSED:
		return nil
	case nil, unix.EAGAIN, unix.EPROTOTYPE:
		return ErrInUse
	}
	return os.NewSyscallError("connect", err)
}

// Remove removes the socket's file, unless another one has taken its place, and closes the listener's
// directory. A service that has given up root can remove it from a directory of its own only; elsewhere the
// next one replaces it.
func (l *Listener) Remove() {
	var now unix.Stat_t
	_ = do(l.user, func() error {
		err := unix.Fstatat(l.dir.FD, l.name, &now, unix.AT_SYMLINK_NOFOLLOW)
		if err == nil && now.Ino == l.ino {
			err = unix.Unlinkat(l.dir.FD, l.name, 0)
		}
		return err
	})
	l.dir.Close()
}

// do calls f with the rights that the user has in the file system, setfsuid(2), as far as this process is
// root; without a user it just calls f. Only the calling thread is concerned, and root's capabilities over
// files are gone with it.
func do(user *identity.User, f func() error) error {
	if user == nil || os.Geteuid() != 0 {
		return f()
	}
	runtime.LockOSThread()
	err := setFS(int(user.UID), int(user.GID))
	if err == nil {
		err = f()
	}
	if back := setFS(0, os.Getegid()); back != nil {
		return errors.Join(err, back) // the thread stays locked, and ends with its goroutine
	}
	runtime.UnlockOSThread()
	return err
}

// setFS changes the thread's ids for the file system. The kernel answers with the ids it had
// until then, so they are asked for again.
func setFS(uid, gid int) error {
	if err := unix.Setfsgid(gid); err != nil {
		return os.NewSyscallError("setfsgid", err)
	}
	if err := unix.Setfsuid(uid); err != nil {
		return os.NewSyscallError("setfsuid", err)
	}
	gotGID, _ := unix.SetfsgidRetGid(-1)
	gotUID, _ := unix.SetfsuidRetUid(-1)
	if gotGID != gid || gotUID != uid {
		return fmt.Errorf("the file system is used as %d:%d instead of %d:%d", gotUID, gotGID, uid, gid)
	}
	return nil
}
