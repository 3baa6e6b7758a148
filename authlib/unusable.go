package authlib

import "fmt"

// AccountError says that a database holds an account that nobody can log in to as it is, and why: a mistake
// in its data, which is neither a wrong password nor an outage of the database. For the client it is a
// temporary failure, which the daemon logs with the account's name.
type AccountError struct {
	// Account is the name that was asked for.
	Account string
	// Reason names the field, and its value unless that is a secret.
	Reason string
}

// Error implements error.
func (e *AccountError) Error() string {
	return fmt.Sprintf("account %q cannot be used: %s", e.Account, e.Reason)
}

// Unusable returns an [*AccountError].
func Unusable(account, format string, args ...any) error {
	return &AccountError{Account: account, Reason: fmt.Sprintf(format, args...)}
}

// SetIDs sets a's UID and GID to values that a database's fields of these names have, and checks Home, the
// third thing that no account can do without. The error is an [*AccountError].
func (a *Account) SetIDs(uidField, uid, gidField, gid, homeField string) error {
	for _, id := range [...]struct {
		field, value string
		to           **uint32
	}{{uidField, uid, &a.UID}, {gidField, gid, &a.GID}} {
		if id.value == "" {
			return Unusable(a.Address, "no %s", id.field)
		}
		n, err := ParseID(id.value)
		if err != nil {
			return Unusable(a.Address, "%s=%.40q: %v", id.field, id.value, err)
		}
		*id.to = &n
	}
	if a.Home == "" {
		return Unusable(a.Address, "no %s", homeField)
	}
	return nil
}
