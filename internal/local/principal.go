package local

import (
	"errors"
	"os"

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
