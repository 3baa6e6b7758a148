package local

import (
	"fmt"
	"os"
	"slices"

	"mailproxy/internal/identity"
)

// relayUsers are the users that a proxied session runs as, unless PROXY_USER names one; the first that
// exists: a user that our package has for this alone, relayd's, Courier's, nobody.
var relayUsers = [...]string{"mailproxy-login", "mailproxy", "courier", "nobody"}

// DropRoot gives up root rights for good: the process becomes the user named, or the first one of
// mailproxy-login, mailproxy, courier and nobody that the system has, with that user's own group and no
// other. Without root rights it does nothing. After ErrChanged the process may have given up a part of its
// rights: it has to end.
func DropRoot(name string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	id, err := sessionUser(name)
	if err != nil {
		return fmt.Errorf("PROXY_USER: %w", err)
	}
	return dropTo(id, nil)
}

// DropRootAtStart is DropRoot for a process that opens its files afterwards: it keeps the user's groups
// except root's, because they may allow it to read keys. Programs that it starts gain no rights.
func DropRootAtStart(name string) error {
	if err := identity.NoNewPrivileges(); err != nil {
		return err
	}
	if os.Geteuid() != 0 {
		return nil
	}
	id, err := sessionUser(name)
	if err != nil {
		return err
	}
	return dropTo(id, slices.DeleteFunc(id.Groups, func(gid uint32) bool { return gid == 0 }))
}

// dropTo gives up root: the process becomes id, with these groups.
func dropTo(id *identity.User, groups []uint32) error {
	if err := identity.Become(id.UID, id.GID, groups); err != nil {
		return &changedError{err}
	}
	return nil
}

// sessionUser returns the user that a process of sessions is to become.
func sessionUser(name string) (*identity.User, error) {
	if name != "" {
		return identity.Ordinary(name)
	}
	return identity.Ordinary(relayUsers[:]...)
}
