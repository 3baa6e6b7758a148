package main

import (
	"mailproxy/internal/identity"
	"strings"
	"testing"
)

// TestUnknownUser: an administrator whose users come from elsewhere reads where names are looked up.
func TestUnknownUser(t *testing.T) {
	const name = "no-such-user"
	dir := directory(t, nil)
	if _, err := identity.Lookup(name); err == nil || !strings.Contains(err.Error(), "/etc/passwd only") {
		t.Errorf("-user: %v", err)
	}
	socks := listening(t, dir)
	defer socks.close()
	for names, want := range map[string]string{
		name: `no user "no-such-user" in /etc/passwd`, "@" + name: `no group "no-such-user" in /etc/group`,
	} {
		if _, err := socks.allowed(names); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("-allow %s: %v", names, err)
		}
	}
}
