package config

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// Files are the names in TLS_CERTFILE and TLS_PRIVATE_KEYFILE: no key, one for all certificates, or one for
// each. Which names a value holds depends on the files that are there, see FileNames.
func (t TLS) Files() (certs, keys []string, err error) {
	certs, keys = FileNames(t.CertFile), FileNames(t.KeyFile)
	if len(certs) > 0 && len(keys) > 1 && len(keys) != len(certs) {
		err = fmt.Errorf("TLS_PRIVATE_KEYFILE names %d files, TLS_CERTFILE %d", len(keys), len(certs))
	}
	return certs, keys, err
}

// FileNames splits a setting that names files. One name ends where a blank is followed by the slash that
// begins the next; a value that is the name of a file as it stands is one name, whatever it looks like.
func FileNames(value string) (names []string) {
	if value == "" {
		return nil
	}
	rest := value
	for i := 1; i < len(rest); i++ {
		if rest[i] == '/' && (rest[i-1] == ' ' || rest[i-1] == '\t') {
			names = append(names, strings.TrimRight(rest[:i], " \t"))
			rest, i = rest[i:], 0
		}
	}
	var st unix.Stat_t
	if names == nil || unix.Stat(value, &st) == nil {
		return []string{value}
	}
	return append(names, rest)
}
