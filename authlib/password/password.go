// Package password tells whether a clear password belongs to a stored hash, or to a stored CRAM secret, and makes new
// ones. It takes what Courier's databases hold: crypt(3) formats with or without the prefix {CRYPT}, and base64 or hex
// digests with a {SCHEME} prefix. What it does not know it names, without showing the hash.
//
// Of crypt(3) it lacks the formats that no mail system writes: $sha1$, $md5$, $7$, $gy$, $3$, BSDi's _.
package password

import (
	"errors"
	"fmt"
	"strings"
	"sync"

	"mailproxy/authlib"
)

// MaxLength is the longest password that a hash is computed of, in bytes. The time of most schemes grows with the length, so
// that somebody who sends long ones would keep a CPU busy.
const MaxLength = 512

// ErrTooLong says that a new password is longer than [MaxLength].
var ErrTooLong = fmt.Errorf("a password of more than %d bytes", MaxLength)

// UnknownSchemeError says that a stored hash cannot be used: nobody's password matches it.
type UnknownSchemeError struct {
	// Scheme is the hash's kind, such as "{FOO}" or "$9$"; never any of the hash itself.
	Scheme string
	// Damaged: the scheme is known, but the hash is not one of it.
	Damaged bool
}

func (e *UnknownSchemeError) Error() string {
	if e.Damaged {
		return "damaged password hash of scheme " + e.Scheme
	}
	return "unknown password scheme " + e.Scheme
}

// scheme is one way to store passwords.
type scheme struct {
	// prefix of the stored hash; in lower case if it begins with a brace.
	prefix string
	// verify compares in constant time; ok is false for a damaged hash. The hash comes with its prefix if that is one of
	// crypt(3), else without.
	verify func(hash, clear string) (match, ok bool)
	// hash makes a new one with the costs of like, which may also be the prefix alone or empty.
	hash func(like, clear string) (string, error)
}

// schemes and crypts are the known ones and those of crypt(3), made when they are first asked for. No prefix is the beginning
// of another.
var (
	crypts  = sync.OnceValue(cryptSchemes)
	schemes = sync.OnceValue(func() []scheme { return append(digestSchemes(), crypts()...) })
)

// find returns the scheme of a stored hash, and the hash as that scheme's functions want it. before is what they must not
// see: "{SSHA}", "{crypt}", or nothing.
func find(hash string) (s scheme, before, rest string, err error) {
	rest = hash
	if strings.HasPrefix(hash, "{") {
		end := strings.IndexByte(hash, '}')
		if end < 0 {
			return s, "", "", &UnknownSchemeError{Scheme: "{ without }"}
		}
		before, rest = hash[:end+1], hash[end+1:]
		if name := strings.ToLower(before); name != "{crypt}" {
			for _, s := range schemes() {
				if s.prefix == name {
					return s, before, rest, nil
				}
			}
			return s, "", "", &UnknownSchemeError{Scheme: printable(before)}
		}
	}
	for _, s := range crypts() {
		if s.prefix != "" && strings.HasPrefix(rest, s.prefix) {
			return s, before, rest, nil
		}
	}
	switch {
	case strings.HasPrefix(rest, "$"):
		// The name only: what follows the second dollar is the hash.
		name, _, ok := strings.Cut(rest[1:], "$")
		if !ok {
			return s, "", "", &UnknownSchemeError{Scheme: "$ without a second $"}
		}
		return s, "", "", &UnknownSchemeError{Scheme: printable("$" + name + "$")}
	case isDES(rest):
		return scheme{prefix: "DES", verify: verifyDES, hash: hashDES}, before, rest, nil
	case rest == "":
		return s, "", "", &UnknownSchemeError{Scheme: "(empty)"}
	}
	return s, "", "", &UnknownSchemeError{Scheme: "(none)"}
}

// printable cuts a scheme's name to what may stand in a log.
func printable(name string) string {
	b := []byte(name)
	if len(b) > 20 {
		b = append(b[:20], "..."...)
	}
	for i, c := range b {
		if c < 0x20 || c > 0x7e {
			b[i] = '?'
		}
	}
	return string(b)
}

// Verify tells whether clear is the password of the stored hash, in time that does not depend on where they differ. The
// error is an [*UnknownSchemeError] for a hash of a kind that is not known, or that is damaged. A password longer than
// [MaxLength] is nobody's: it is not looked at.
func Verify(hash, clear string) (bool, error) {
	s, _, rest, err := find(hash)
	if err != nil {
		return false, err
	}
	if len(clear) > MaxLength {
		return false, nil
	}
	match, ok := s.verify(rest, clear)
	if !ok {
		return false, &UnknownSchemeError{Scheme: strings.ToUpper(s.prefix), Damaged: true}
	}
	return match, nil
}

// Check is [Verify] for the modules of authlib: nil when clear is the password of the stored hash, [authlib.ErrRefused] when
// it is not or when the hash is locked (see [Locked]), and an [*authlib.AccountError] for a hash that cannot be used.
func Check(account, hash, clear string) error {
	if Locked(hash) {
		return authlib.ErrRefused
	}
	match, err := Verify(hash, clear)
	var unknown *UnknownSchemeError
	switch {
	case errors.As(err, &unknown):
		return authlib.Unusable(account, "%v", err)
	case err != nil:
		return err
	case !match:
		return authlib.ErrRefused
	}
	return nil
}

// Locked tells hashes that no password is to match: empty, or beginning with ! or *, as passwd -l and others write them, with or
// without a {SCHEME} in front.
func Locked(hash string) bool {
	if strings.HasPrefix(hash, "{") {
		if _, rest, ok := strings.Cut(hash, "}"); ok {
			hash = rest
		}
	}
	return hash == "" || hash[0] == '!' || hash[0] == '*'
}

// Hash makes a hash of clear of the same kind and cost as like, which is a hash, or only a scheme such as "{SSHA}", "$1$",
// "$6$". The error is an [*UnknownSchemeError], [ErrTooLong], or the system's for want of randomness.
func Hash(like, clear string) (string, error) {
	if len(clear) > MaxLength {
		return "", ErrTooLong
	}
	s, before, rest, err := find(like)
	if err != nil {
		return "", err
	}
	hash, err := s.hash(rest, clear)
	if err != nil {
		return "", err
	}
	return before + hash, nil
}
