package main

import (
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"mailproxy/internal/identity"
)

// dropRights leaves root for c.user and makes sure that nothing gives rights back. It is called when the
// sockets are open.
func (c *config) dropRights() error {
	if c.user != "" && os.Getuid() == 0 {
		uid, gid, err := lookup(c.user)
		if err != nil {
			return err
		}
		if err := identity.Become(uid, gid, nil); err != nil {
			return fmt.Errorf("becoming user %s: %w", c.user, err)
		}
	}
	// Every thread, those of the runtime too.
	_, _, e := syscall.AllThreadsSyscall6(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, 0)
	if e != 0 && e != syscall.ENOTSUP {
		return fmt.Errorf("no new privileges: %w", e)
	}
	// Sessions' keys stay out of core files and away from debuggers of the same user.
	return unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
}
