// Package password tells whether a clear password belongs to a stored hash, or to a stored CRAM secret, and
// makes new ones. It knows the formats in Courier's and Dovecot's tables: crypt(3) formats, and digests, key
// derivations and clear passwords with a {SCHEME} prefix. The error for an unknown format names the format,
// but does not show the hash.
//
// Of crypt(3) it lacks the formats that no mail system writes: $sha1$, $md5$, $gy$, $3$, BSDi's _; of
// Dovecot's schemes those that are made for one mechanism: CRAM-MD5, HMAC-MD5, DIGEST-MD5, OTP; and
// PLAIN-MD4, PLAIN-TRUNC.
package password

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"mailproxy/authlib"
)

// MaxLength is the longest password that a hash is computed of, in bytes. The time of most schemes grows with
// the length, so that long passwords would keep a CPU busy.
const MaxLength = 512

// ErrTooLong is the [authlib.ErrTooLong] of a password longer than [MaxLength].
var ErrTooLong = fmt.Errorf("%w: more than %d bytes", authlib.ErrTooLong, MaxLength)

// UnknownSchemeError says that a stored hash cannot be used: nobody's password matches it.
type UnknownSchemeError struct {
	// scheme is the hash's kind, such as "{FOO}" or "$9$"; never any of the hash itself.
	scheme string
	// damaged: the scheme is known, but the hash is not one of it.
	damaged bool
}

func (e *UnknownSchemeError) Error() string {
	if e.damaged {
		return "damaged password hash of scheme " + e.scheme
	}
	return "unknown password scheme " + e.scheme
}

// Verify tells whether clear is the password of the stored hash, in time that does not depend on where they
// differ. The error is an [*UnknownSchemeError] for a hash of a kind that is not known, or that is damaged. A
// password longer than [MaxLength] is nobody's: it is not looked at.
func Verify(hash, clear string) (bool, error) {
	f, err := find(hash)
	if err != nil {
		return false, err
	}
	if len(clear) > MaxLength {
		return false, nil
	}
	match, ok := f.verify(f.stored, clear)
	if !ok {
		return false, &UnknownSchemeError{scheme: strings.ToUpper(f.name), damaged: true}
	}
	return match, nil
}

// Slow tells whether the stored hash is one that is made to take time: bcrypt, $5$, $6$, yescrypt, scrypt,
// Argon2, and those over PBKDF2.
func Slow(hash string) bool {
	f, err := find(hash)
	return err == nil && f.slow
}

// A Verifier is called in place of [Verify]. It may know the answer already, or let the caller wait for its
// turn. An error other than [*UnknownSchemeError] means that there is no answer now.
type Verifier func(ctx context.Context, hash, clear string) (bool, error)

// verifierKey is the key of a context's Verifier.
type verifierKey struct{}

// WithVerifier returns a context whose requests are checked by v.
func WithVerifier(ctx context.Context, v Verifier) context.Context {
	return context.WithValue(ctx, verifierKey{}, v)
}

// Check is [Verify], or the context's [Verifier], for the modules of authlib: nil when clear is the password
// of the stored hash, [authlib.ErrRefused] when it is not or when the hash is locked (see [Locked]), an
// [*authlib.AccountError] for a hash that cannot be used, or the Verifier's error.
func Check(ctx context.Context, account, hash, clear string) error {
	if Locked(hash) {
		return authlib.ErrRefused
	}
	verify, ok := ctx.Value(verifierKey{}).(Verifier)
	if !ok {
		verify = func(_ context.Context, hash, clear string) (bool, error) { return Verify(hash, clear) }
	}
	match, err := verify(ctx, hash, clear)
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

// Locked tells hashes that no password is to match: empty, or beginning with ! or *, as passwd -l and others
// write them, with or without a {SCHEME} in front.
func Locked(hash string) bool {
	if strings.HasPrefix(hash, "{") {
		if _, rest, ok := strings.Cut(hash, "}"); ok {
			hash = rest
		}
	}
	return hash == "" || hash[0] == '!' || hash[0] == '*'
}

// Hash makes a hash of clear of the same kind and cost as like, which is a hash, or only a scheme such as
// "{SSHA}", "$1$", "$6$". The error is an [*UnknownSchemeError], [ErrTooLong], or that of a scheme's library.
func Hash(like, clear string) (string, error) {
	if len(clear) > MaxLength {
		return "", ErrTooLong
	}
	f, err := find(like)
	var unknown *UnknownSchemeError
	if errors.As(err, &unknown) && unknown.damaged && f.hash != nil {
		err = nil // the scheme alone
	}
	if err != nil {
		return "", err
	}
	hash, err := f.hash(f.stored, clear)
	if err != nil {
		return "", err
	}
	return f.before + f.encode(hash), nil
}
