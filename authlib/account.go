// Package authlib asks the auth module for mail accounts: the account that it returns, the requests it takes,
// and the authdaemon protocol that carries both over a unix socket.
//
// The package links no database driver. The account databases live in packages below it (userdb, mysql,
// pgsql, ldap), implement [Module], and are linked by authdaemond only.
package authlib

import "strings"

// Account is what the auth module knows about one mail account. Empty strings stand for values that were not
// given.
type Account struct {
	// SystemUser (USERNAME on the wire) names the system user whose uid, gid and groups the account uses. When
	// it is set it wins over UID and GID.
	SystemUser string
	// UID and GID are nil when the module did not give them, so that the zero Account is nobody, not root.
	UID, GID *uint32
	// Home is the account's home directory; the local server starts there.
	Home string
	// Address is the canonical login: the name that the mailhost is logged in to with.
	Address string
	// FullName (NAME) is the owner's name up to the first comma.
	FullName string
	// Maildir is relative to Home unless it begins with a slash; empty = the default maildir.
	Maildir string
	// Quota is a maildir quota such as "10000000S,1000C".
	Quota string
	// CryptPassword (PASSWD) is the stored hash.
	CryptPassword string
	// ClearPassword (PASSWD2) is the clear password when it is known: the one just checked, or the stored one.
	ClearPassword string
	// Options are the account's options.
	Options Options
}

// Spelling returns how a database spells the name that somebody typed: the first of its values that is the
// same apart from case and surrounding blanks, or the name as typed if there is none, so that an alias does
// not log in as another user. Limits, caches and mailhosts then see one user for Ann@x and ann@X.
func Spelling(typed string, values ...string) string {
	for _, v := range values {
		if strings.EqualFold(strings.TrimSpace(v), strings.TrimSpace(typed)) {
			return v
		}
	}
	return typed
}
