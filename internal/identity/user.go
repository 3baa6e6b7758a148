package identity

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// User is a system user, or only the ids of an account.
type User struct {
	Name     string // "" = it does not matter
	UID, GID uint32
	Groups   []uint32 // all of them
}

// Lookup finds a system user. It is looked for in /etc/passwd and /etc/group only: a static program has no
// NSS.
func Lookup(name string) (*User, error) {
	u, err := user.Lookup(name)
	if err != nil {
		return nil, fmt.Errorf("system user %q: %w (names are looked up in /etc/passwd only)", name, err)
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
	return &User{Name: name, UID: numbers[0], GID: numbers[1], Groups: numbers[2:]}, nil
}

// Ordinary finds the first of the named system users that exists. It is an error if none exists, or if Check
// refuses the ids of that user.
func Ordinary(names ...string) (*User, error) {
	var missing error
	for _, name := range names {
		id, err := Lookup(name)
		_, unknown := errors.AsType[user.UnknownUserError](err)
		switch {
		case unknown && missing != nil:
			missing = fmt.Errorf("%w; %w", missing, err)
		case unknown:
			missing = err
		case err != nil:
			return nil, err
		case Check(id.UID, id.GID, nil) != nil:
			return nil, fmt.Errorf("system user %q has uid %d and gid %d, which no session may have",
				name, id.UID, id.GID)
		default:
			return id, nil
		}
	}
	return nil, missing
}

// NoCore keeps this process's memory, where passwords and keys are, out of core files and away from debuggers
// of the same user. A change of user undoes it (fs.suid_dumpable), and exec.
func NoCore() error {
	return os.NewSyscallError("prctl", unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0))
}

// NoNewPrivileges has this process and what it starts gain no rights by exec, see
// PR_SET_NO_NEW_PRIVS(2const).
func NoNewPrivileges() error {
	_, _, errno := syscall.AllThreadsSyscall6(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, 0)
	if errno == syscall.ENOTSUP {
		// The program is linked with cgo, as for the race detector: threads that begin from here on have it.
		return os.NewSyscallError("prctl", unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
	}
	if errno != 0 {
		return os.NewSyscallError("prctl", errno)
	}
	return nil
}
