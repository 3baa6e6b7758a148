// Package inetd turns what a launcher (couriertcpd, tcpserver, tcpsvd, systemd, xinetd) hands to a program into values:
// the connection, the peer's address, the settings, a log; and it becomes the account's user and runs the local server on
// that connection.
//
// It is the only package below the programs that reads environment variables, and it reads them from the list that it is
// given. It deliberately knows nothing of IMAP, POP3, accounts databases or TLS.
package inetd

import (
	"slices"
	"strings"
)

// Settings are the environment and the configuration files in one: name to value. A name that is set to nothing is in
// the map with the value "".
type Settings map[string]string

// NewSettings returns the settings in an environment such as os.Environ returns. Of two entries with one name the first
// counts, as it does for C's getenv. Entries without "=" are ignored.
func NewSettings(environ []string) Settings {
	s := make(Settings, len(environ))
	for _, entry := range environ {
		name, value, ok := strings.Cut(entry, "=")
		if _, twice := s[name]; !ok || name == "" || twice {
			continue
		}
		s[name] = value
	}
	return s
}

// Get returns the value of a setting, "" when it is not set.
func (s Settings) Get(name string) string { return s[name] }

// Lookup returns the value of a setting and whether it is set at all.
func (s Settings) Lookup(name string) (string, bool) {
	value, ok := s[name]
	return value, ok
}

// Environ returns the settings as an environment for another program, sorted by name.
func (s Settings) Environ() []string {
	environ := make([]string, 0, len(s))
	for name, value := range s {
		environ = append(environ, name+"="+value)
	}
	slices.Sort(environ)
	return environ
}
