package frontend

import (
	"mailproxy/authlib"
	"mailproxy/internal/config"
)

// authUsers are who may run the auth daemon: AUTHDAEMON_USER, else our package's user, and Courier's where
// Courier's own daemon listens.
func authUsers(c *config.Config) []string {
	switch {
	case len(c.AuthUsers) > 0:
		return c.AuthUsers
	case c.AuthSocket == "" || authlib.IsCourierSocket(c.AuthSocket):
		return []string{"mailproxy-auth", "courier"}
	}
	return []string{"mailproxy-auth"}
}
