package inetd

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"mailproxy/internal/smallfile"
)

// identity is who a process runs as.
type identity struct {
	uid, gid uint32
	groups   []uint32
	// change is false when this process is that user already and may not change.
	change bool
}

// identity finds out who the account's session runs as. Users are looked for in /etc/passwd and /etc/group only: a
// static program has no NSS.
func (l *Local) identity() (*identity, error) {
	id := &identity{change: os.Geteuid() == 0}
	switch {
	case l.SystemUser != "":
		found, err := lookupUser(l.SystemUser)
		if err != nil {
			return nil, err
		}
		found.change = id.change
		id = found
	case l.UID == nil || l.GID == nil:
		return nil, errors.New("the account has neither a system user nor both uid and gid")
	default:
		id.uid, id.gid, id.groups = *l.UID, *l.GID, []uint32{*l.GID}
	}
	if id.uid == 0 || id.gid == 0 {
		return nil, ErrRoot
	}
	if !id.change && (int(id.uid) != os.Geteuid() || int(id.gid) != os.Getegid()) {
		return nil, ErrNotRoot
	}
	return id, nil
}

// become changes the groups, gid and uid of the calling thread, which must be locked and exec: of all threads, and their
// rights, only this one is left then.
func (id *identity) become() error {
	if !id.change {
		return nil
	}
	groups := make([]int, len(id.groups))
	for i, g := range id.groups {
		groups[i] = int(g)
	}
	if err := unix.Setgroups(groups); err != nil {
		return os.NewSyscallError("setgroups", err)
	}
	if err := unix.Setresgid(int(id.gid), int(id.gid), int(id.gid)); err != nil {
		return os.NewSyscallError("setresgid", err)
	}
	return os.NewSyscallError("setresuid", unix.Setresuid(int(id.uid), int(id.uid), int(id.uid)))
}

// leave changes the gid and uid of every thread, for good, and gives up all supplementary groups. Each of the three costs a
// system call in every thread, so groups that there are not, as below most launchers, are not given up.
func (id *identity) leave() error {
	if groups, err := unix.Getgroups(); err != nil || len(groups) > 0 {
		if err := syscall.Setgroups(nil); err != nil {
			return os.NewSyscallError("setgroups", err)
		}
	}
	if err := syscall.Setgid(int(id.gid)); err != nil {
		return os.NewSyscallError("setgid", err)
	}
	return os.NewSyscallError("setuid", syscall.Setuid(int(id.uid)))
}

// lookupUser returns a system user with all groups.
func lookupUser(name string) (*identity, error) {
	u, err := user.Lookup(name)
	if err != nil {
		return nil, fmt.Errorf("system user %q: %w", name, err)
	}
	ids, err := u.GroupIds()
	if err != nil {
		return nil, fmt.Errorf("groups of system user %q: %w", name, err)
	}
	numbers := make([]uint32, 0, len(ids)+2)
	for _, text := range append([]string{u.Uid, u.Gid}, ids...) {
		n, err := strconv.ParseUint(text, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("system user %q: %w", name, err)
		}
		numbers = append(numbers, uint32(n))
	}
	return &identity{uid: numbers[0], gid: numbers[1], groups: numbers[2:]}, nil
}

// NoCore keeps this process's memory, where passwords are, out of core files and away from debuggers of the same user. The
// program that it becomes by exec is not concerned.
func NoCore() error {
	return os.NewSyscallError("prctl", unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0))
}

// relayUsers are who a proxied session runs as unless PROXY_USER names someone: the user that our package has for nothing else;
// relayd's or Courier's where there is no such user, else nobody.
var relayUsers = [...]string{"mailproxy-login", "mailproxy", "courier", "nobody"}

// DropRoot gives up root rights for good: the process becomes the user named, or the first one of mailproxy-login, mailproxy, courier
// and nobody that the system has, with that user's own group and no other. Without root rights it does nothing.
func DropRoot(name string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	names := relayUsers[:]
	if name != "" {
		names = []string{name}
	}
	name, id, err := firstUser(passwdFile, names)
	if err != nil {
		return err
	}
	if id.uid == 0 {
		return fmt.Errorf("system user %q is root", name)
	}
	return id.leave()
}

const (
	passwdFile = "/etc/passwd"
	maxPasswd  = 64 << 20 // bytes
)

// firstUser returns the first of the names that is in the file, a passwd(5), with its uid and gid. It reads the file once, since
// this is on the way of every login; os/user would read it twice for each name.
func firstUser(file string, names []string) (string, *identity, error) {
	text, _, err := smallfile.Read(file, maxPasswd)
	if err != nil {
		return "", nil, err
	}
	for _, name := range names {
		for line := range strings.SplitSeq(string(text), "\n") {
			rest, found := strings.CutPrefix(line, name+":")
			if !found {
				continue
			}
			fields := strings.Split(rest, ":") // password, uid, gid, ...
			if len(fields) < 3 {
				continue
			}
			uid, err := strconv.ParseUint(fields[1], 10, 32)
			gid, gerr := strconv.ParseUint(fields[2], 10, 32)
			if err = errors.Join(err, gerr); err != nil {
				return "", nil, fmt.Errorf("system user %q: %w", name, err)
			}
			return name, &identity{uid: uint32(uid), gid: uint32(gid)}, nil
		}
	}
	var errs []error
	for _, name := range names {
		errs = append(errs, fmt.Errorf("system user %q: %w", name, user.UnknownUserError(name)))
	}
	return "", nil, errors.Join(errs...)
}
