package password

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
)

// Digests with a {SCHEME} prefix, as LDAP servers (RFC 2307), Courier and Dovecot store them.

// newSalt is the number of bytes of salt in a new salted digest. Courier takes no other length.
const newSalt = 4

// minSalt is the least number of salt bytes that a stored salted digest must have.
const minSalt = 4

// sum is a hash function over the concatenation of its arguments.
type sum func(password, salt []byte) []byte

func md5Sum(p, s []byte) []byte    { d := md5.Sum(join(p, s)); return d[:] }
func sha1Sum(p, s []byte) []byte   { d := sha1.Sum(join(p, s)); return d[:] }
func sha256Sum(p, s []byte) []byte { d := sha256.Sum256(join(p, s)); return d[:] }
func sha512Sum(p, s []byte) []byte { d := sha512.Sum512(join(p, s)); return d[:] }

func join(p, s []byte) []byte { return append(p[:len(p):len(p)], s...) }

// digestSchemes lists the {SCHEME} digests. {MD5} is Courier's, and Dovecot's too where it is one of
// crypt(3).
func digestSchemes() []scheme {
	return []scheme{
		plainDigest("{md5}", md5Sum, md5.Size, false), plainDigest("{ldap-md5}", md5Sum, md5.Size, false),
		plainDigest("{md5raw}", md5Sum, md5.Size, true), plainDigest("{plain-md5}", md5Sum, md5.Size, true),
		plainDigest("{sha}", sha1Sum, sha1.Size, false), plainDigest("{sha1}", sha1Sum, sha1.Size, false),
		plainDigest("{sha256}", sha256Sum, sha256.Size, false),
		plainDigest("{sha512}", sha512Sum, sha512.Size, false),
		saltedDigest("{smd5}", md5Sum, md5.Size), saltedDigest("{ssha}", sha1Sum, sha1.Size),
		saltedDigest("{ssha256}", sha256Sum, sha256.Size), saltedDigest("{ssha512}", sha512Sum, sha512.Size),
	}
}

// plainDigest is a digest of size bytes of the password alone.
func plainDigest(name string, f sum, size int, hex bool) scheme {
	return scheme{
		name: name, bytes: true, hex: hex, size: size,
		verify: func(stored, clear string) (bool, bool) {
			return subtle.ConstantTimeCompare([]byte(stored), f([]byte(clear), nil)) == 1, true
		},
		hash: func(_, clear string) (string, error) { return string(f([]byte(clear), nil)), nil },
	}
}

// saltedDigest is a digest of size bytes of the password and a salt, followed by that salt.
func saltedDigest(name string, f sum, size int) scheme {
	return scheme{
		name: name, bytes: true,
		verify: func(stored, clear string) (bool, bool) {
			if len(stored) < size+minSalt {
				return false, false
			}
			return subtle.ConstantTimeCompare(
				[]byte(stored[:size]),
				f([]byte(clear), []byte(stored[size:])),
			) == 1, true
		},
		hash: func(_, clear string) (string, error) {
			salt := random(newSalt)
			return string(append(f([]byte(clear), salt), salt...)), nil
		},
	}
}

// clearSchemes are names for the password itself.
func clearSchemes() (list []scheme) {
	for _, name := range []string{"{plain}", "{clear}", "{cleartext}"} {
		list = append(list, scheme{
			name:   name,
			verify: func(stored, clear string) (bool, bool) { return same(stored, clear), true },
			hash:   func(_, clear string) (string, error) { return clear, nil },
		})
	}
	return list
}

// Clear returns the password that a stored {PLAIN}, {CLEAR} or {CLEARTEXT} holds, which CRAM needs; "" for
// all others.
func Clear(hash string) string {
	f, err := find(hash)
	if err != nil || Locked(hash) {
		return ""
	}
	switch f.name {
	case "{plain}", "{clear}", "{cleartext}":
		return f.stored
	}
	return ""
}
