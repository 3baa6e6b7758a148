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

	"mailproxy/internal/identity"
	"mailproxy/internal/smallfile"
)

// principal is who a process runs as.
type principal struct {
	uid, gid uint32
	groups   []uint32
	// change is false when this process is that user already and may not change.
	change bool
}

// identity finds out who the account's session runs as. Users are looked for in /etc/passwd and /etc/group only: a
// static program has no NSS.
func (l *Local) identity() (*principal, error) {
	id := &principal{change: os.Geteuid() == 0}
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
	if err := identity.Check(id.uid, id.gid, id.groups); err != nil {
		return nil, err
	}
	if !id.change && (int(id.uid) != os.Geteuid() || int(id.gid) != os.Getegid()) {
		return nil, ErrNotRoot
	}
	return id, nil
}

// become changes the groups of the calling thread, and the gid and uid of every thread. The calling thread must be
// locked and exec: it alone is left then, so the groups of the others do not matter. What it has become is read
// back: after an error nothing may be run in this process.
func (id *principal) become() error {
	if err := identity.Check(id.uid, id.gid, id.groups); err != nil {
		return err
	}
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
	if err := unix.Setresuid(int(id.uid), int(id.uid), int(id.uid)); err != nil {
		return os.NewSyscallError("setresuid", err)
	}
	return identity.Verify(id.uid, id.gid, id.groups)
}

// leave changes the gid and uid of every thread, for good, and gives up all supplementary groups. Each of the three costs a
// system call in every thread, so groups that there are not, as below most launchers, are not given up. The runtime ends the
// process when threads get different answers, so it is enough to read back who one of them is.
func (id *principal) leave() error {
	if groups, err := unix.Getgroups(); err != nil || len(groups) > 0 {
		if err := syscall.Setgroups(nil); err != nil {
			return os.NewSyscallError("setgroups", err)
		}
	}
	if err := syscall.Setgid(int(id.gid)); err != nil {
		return os.NewSyscallError("setgid", err)
	}
	if err := syscall.Setuid(int(id.uid)); err != nil {
		return os.NewSyscallError("setuid", err)
	}
	return identity.Verify(id.uid, id.gid, nil)
}

// lookupUser returns a system user with all groups.
func lookupUser(name string) (*principal, error) {
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
	return &principal{uid: numbers[0], gid: numbers[1], groups: numbers[2:]}, nil
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
// and nobody that the system has, with that user's own group and no other. Without root rights it does nothing. After
// ErrChanged the process may have given up a part of its rights: it has to end.
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
	if err := identity.Check(id.uid, id.gid, nil); err != nil {
		return fmt.Errorf("system user %q has uid %d and gid %d, which no session may have", name, id.uid, id.gid)
	}
	if err := id.leave(); err != nil {
		return &changedError{err}
	}
	return nil
}

const (
	passwdFile = "/etc/passwd"
	maxPasswd  = 64 << 20 // bytes
)

// firstUser returns the first of the names that is in the file, a passwd(5), with its uid and gid. It reads the file once, since
// this is on the way of every login; os/user would read it twice for each name.
func firstUser(file string, names []string) (string, *principal, error) {
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
			return name, &principal{uid: uint32(uid), gid: uint32(gid)}, nil
		}
	}
	var errs []error
	for _, name := range names {
		errs = append(errs, fmt.Errorf("system user %q: %w", name, user.UnknownUserError(name)))
	}
	return "", nil, errors.Join(errs...)
}
