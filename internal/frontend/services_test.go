package frontend

import (
	"slices"
	"strings"
	"testing"

	"mailproxy/internal/config"
)

func TestAuthUsers(t *testing.T) {
	for environ, want := range map[string][]string{
		"":                   {"mailproxy-auth", "courier"},
		"AUTHDAEMON_SOCKET=": {"mailproxy-auth", "courier"},
		"AUTHDAEMON_SOCKET=/run/courier/authdaemon/socket":      {"mailproxy-auth", "courier"},
		"AUTHDAEMON_SOCKET=/var/run/courier//authdaemon/socket": {"mailproxy-auth", "courier"},
		"AUTHDAEMON_SOCKET=/run/mailproxy/authdaemon/socket":    {"mailproxy-auth"},
		"AUTHDAEMON_USER=a,b":                                   {"a", "b"},
	} {
		c, err := config.Load(nil, strings.Fields(environ), config.IMAP)
		if err != nil {
			t.Fatal(err)
		}
		if got := authUsers(c); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", environ, got, want)
		}
	}
}
