// Package password tells whether a clear password belongs to a stored hash, or to a stored CRAM secret, and makes new
// ones. It takes what Courier's databases hold: crypt(3) formats with or without the prefix {CRYPT}, and base64 or hex
// digests with a {SCHEME} prefix. What it does not know it names, without showing the hash.
package password

// Verify tells whether clear is the password of the stored hash, in time that does not depend on where they differ. The
// error is an [*UnknownSchemeError] for a hash of a kind that is not known, or that is damaged.
func Verify(hash, clear string) (bool, error) { return false, &UnknownSchemeError{} }

// Hash makes a hash of clear of the same kind as like, which is a hash or only a scheme such as "{SSHA}", "$1$", "$6$".
// The error is an [*UnknownSchemeError], or the system's for want of randomness.
func Hash(like, clear string) (string, error) { return "", &UnknownSchemeError{} }

// UnknownSchemeError says that a stored hash cannot be used.
type UnknownSchemeError struct {
	// Scheme is the hash's kind, such as "{FOO}" or "$9$"; never any of the hash itself.
	Scheme string
}

func (e *UnknownSchemeError) Error() string { return "unknown password scheme " + e.Scheme }
