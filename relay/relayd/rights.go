package main

import (
	"fmt"
	"os"

	"mailproxy/internal/identity"
)

// dropRights leaves root for c.user and makes sure that nothing gives rights back. It is called when the
// sockets are open.
func (c *config) dropRights() error {
	if c.user != "" && os.Getuid() == 0 {
		id, err := lookup(c.user)
		if err != nil {
			return err
		}
		if err := identity.Become(id.UID, id.GID, nil); err != nil {
			return fmt.Errorf("becoming user %s: %w", c.user, err)
		}
	}
	if err := identity.NoNewPrivileges(); err != nil {
		return fmt.Errorf("no new privileges: %w", err)
	}
	return identity.NoCore()
}
