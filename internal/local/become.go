package local

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"mailproxy/internal/identity"
)

// principal is who a process runs as.
type principal struct {
	name     string // "" when it does not matter
	uid, gid uint32
	groups   []uint32
	// change is false when this process is that user already and may not change.
	change bool
}

// identity finds out who the account's session runs as. Users are looked for in /etc/passwd and /etc/group
// only: a static program has no NSS.
func (l *Server) identity() (*principal, error) {
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

// become changes the groups of the calling thread, and the gid and uid of every thread. The calling thread
// must be locked and exec: it alone is left then, so the groups of the others do not matter. What it has
// become is read back: after an error nothing may be run in this process.
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

// leave changes the gid and uid of every thread, for good, and the supplementary groups. Each of the three
// costs a system call in every thread, so groups that there are not, as below most launchers, are not given
// up. The runtime ends the process when threads get different answers, so it is enough to read
// back who one of them is.
func (id *principal) leave() error {
	if now, err := unix.Getgroups(); err != nil || len(now) > 0 || len(id.groups) > 0 {
		groups := make([]int, len(id.groups))
		for i, g := range id.groups {
			groups[i] = int(g)
		}
		if err := syscall.Setgroups(groups); err != nil {
			return os.NewSyscallError("setgroups", err)
		}
	}
	if err := syscall.Setgid(int(id.gid)); err != nil {
		return os.NewSyscallError("setgid", err)
	}
	if err := syscall.Setuid(int(id.uid)); err != nil {
		return os.NewSyscallError("setuid", err)
	}
	return identity.Verify(id.uid, id.gid, id.groups)
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
