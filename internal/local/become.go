package local

import (
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"mailproxy/internal/identity"
)

// principal is who a process runs as.
type principal struct {
	identity.User
	// change is false when this process is that user already and may not change.
	change bool
}

// identity finds out who the account's session runs as. Users are looked for in /etc/passwd and /etc/group
// only: a static program has no NSS.
func (l *Server) identity() (*principal, error) {
	id := &principal{change: os.Geteuid() == 0}
	switch {
	case l.SystemUser != "":
		found, err := identity.Lookup(l.SystemUser)
		if err != nil {
			return nil, err
		}
		id.User = *found
	case l.UID == nil || l.GID == nil:
		return nil, errors.New("the account has neither a system user nor both uid and gid")
	default:
		id.UID, id.GID, id.Groups = *l.UID, *l.GID, []uint32{*l.GID}
	}
	if err := identity.Check(id.UID, id.GID, id.Groups); err != nil {
		return nil, err
	}
	if !id.change && (int(id.UID) != os.Geteuid() || int(id.GID) != os.Getegid()) {
		return nil, ErrNotRoot
	}
	return id, nil
}

// become changes the groups of the calling thread, and the gid and uid of every thread. The calling thread
// must be locked and exec: it alone is left then, so the groups of the others do not matter. What it has
// become is read back: after an error nothing may be run in this process.
func (id *principal) become() error {
	if err := identity.Check(id.UID, id.GID, id.Groups); err != nil {
		return err
	}
	if !id.change {
		return nil
	}
	groups := make([]int, len(id.Groups))
	for i, g := range id.Groups {
		groups[i] = int(g)
	}
	if err := unix.Setgroups(groups); err != nil {
		return os.NewSyscallError("setgroups", err)
	}
	if err := unix.Setresgid(int(id.GID), int(id.GID), int(id.GID)); err != nil {
		return os.NewSyscallError("setresgid", err)
	}
	if err := unix.Setresuid(int(id.UID), int(id.UID), int(id.UID)); err != nil {
		return os.NewSyscallError("setresuid", err)
	}
	return identity.Verify(id.UID, id.GID, id.Groups)
}

// dropRoot changes the gid and uid of every thread, for good, and the supplementary groups. Each of the three
// costs a system call in every thread, so groups that there are not, as below most launchers, are not given
// up. The runtime ends the process when threads get different answers, so it is enough to read
// back who one of them is.
func (id *principal) dropRoot() error {
	if now, err := unix.Getgroups(); err != nil || len(now) > 0 || len(id.Groups) > 0 {
		groups := make([]int, len(id.Groups))
		for i, g := range id.Groups {
			groups[i] = int(g)
		}
		if err := syscall.Setgroups(groups); err != nil {
			return os.NewSyscallError("setgroups", err)
		}
	}
	if err := syscall.Setgid(int(id.GID)); err != nil {
		return os.NewSyscallError("setgid", err)
	}
	if err := syscall.Setuid(int(id.UID)); err != nil {
		return os.NewSyscallError("setuid", err)
	}
	return identity.Verify(id.UID, id.GID, id.Groups)
}
