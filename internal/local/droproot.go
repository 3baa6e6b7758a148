package local

import (
	"errors"
	"fmt"
	"os"
	"os/user"
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
			return name, &principal{uid: uint32(uid), gid: uint32(gid)}, nil
		}
	}
	var errs []error
	for _, name := range names {
		errs = append(errs, fmt.Errorf("system user %q: %w", name, user.UnknownUserError(name)))
	}
	return "", nil, errors.Join(errs...)
}
