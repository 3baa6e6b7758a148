package frontend

import (
	"fmt"
	"strings"

	"mailproxy/authlib"
	"mailproxy/internal/inetd"
	"mailproxy/internal/peercred"
)

// authUsers are who may run the auth daemon unless AUTHDAEMON_USER says otherwise: our package's user, and
// Courier's where Courier's own daemon listens.
func authUsers(socket string) []string {
	if socket == "" || authlib.IsCourierSocket(socket) {
		return []string{"mailproxy-auth", "courier"}
	}
	return []string{"mailproxy-auth"}
}

// users reads a list of users who may listen on a socket. Groups are none: the kernel tells of a listener the
// user, and whoever is in a group could put a listener there.
func users(s inetd.Settings, name string, def []string) ([]string, error) {
	names := peercred.Names(s.Get(name))
	if len(names) == 0 {
		return def, nil
	}
	for _, user := range names {
		if strings.HasPrefix(user, "@") {
			return nil, fmt.Errorf("%s=%q: must be users, not groups", name, s.Get(name))
		}
	}
	return names, nil
}
