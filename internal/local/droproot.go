package local

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"slices"
	"strconv"
	"strings"

	"mailproxy/internal/identity"
	"mailproxy/internal/smallfile"
)

// relayUsers are who a proxied session runs as unless PROXY_USER names someone: the user that our package
// has for nothing else; relayd's or Courier's where there is no such user, else nobody.
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
	return dropTo(id)
}

// DropRootAtStart is DropRoot for a process that opens its files afterwards: it keeps the user's groups, with
// which it may read keys, but for root's, and programs that it starts gain no rights.
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
	if id.Groups, err = groupsOf(id.Name); err != nil {
		return err
	}
	return dropTo(id)
}

// dropTo gives up root: the process becomes id.
func dropTo(id *principal) error {
	if err := id.dropRoot(); err != nil {
		return &changedError{err}
	}
	return nil
}

// groupsOf returns the supplementary groups of a user in /etc/group, but for root's.
func groupsOf(name string) ([]uint32, error) {
	found, err := identity.Lookup(name)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(found.Groups, func(gid uint32) bool { return gid == 0 }), nil
}

// sessionUser returns the user that a process of sessions is to become.
func sessionUser(name string) (*principal, error) {
	names := relayUsers[:]
	if name != "" {
		names = []string{name}
	}
	name, id, err := firstUser(passwdFile, names)
	if err != nil {
		return nil, err
	}
	if err := identity.Check(id.UID, id.GID, nil); err != nil {
		return nil, fmt.Errorf("system user %q has uid %d and gid %d, which no session may have", name, id.UID,
			id.GID)
	}
	id.Name = name
	return id, nil
}

const (
	passwdFile = "/etc/passwd"
	maxPasswd  = 64 << 20 // bytes
)

// firstUser returns the first of the names that is in the file, a passwd(5), with its uid and gid. It reads
// the file once, since this is on the way of every login; os/user would read it twice for each name.
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
			return name, &principal{User: identity.User{UID: uint32(uid), GID: uint32(gid)}}, nil
		}
	}
	var errs []error
	for _, name := range names {
		errs = append(errs, fmt.Errorf("system user %q: %w", name, user.UnknownUserError(name)))
	}
	return "", nil, errors.Join(errs...)
}
