package password

import (
	"crypto/md5"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"strings"
)

// Digests with a {SCHEME} prefix, as LDAP servers (RFC 2307) and Courier store them.

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

// digestSchemes lists the {SCHEME} digests.
func digestSchemes() []scheme {
	return []scheme{
		plainDigest("{md5}", md5Sum, md5.Size, decode64, base64.StdEncoding.EncodeToString),
		plainDigest("{md5raw}", md5Sum, md5.Size, hex.DecodeString, hex.EncodeToString),
		plainDigest("{sha}", sha1Sum, sha1.Size, decode64, base64.StdEncoding.EncodeToString),
		plainDigest("{sha256}", sha256Sum, sha256.Size, decode64, base64.StdEncoding.EncodeToString),
		plainDigest("{sha512}", sha512Sum, sha512.Size, decode64, base64.StdEncoding.EncodeToString),
		saltedDigest("{ssha}", sha1Sum, sha1.Size),
		saltedDigest("{ssha256}", sha256Sum, sha256.Size),
		saltedDigest("{ssha512}", sha512Sum, sha512.Size),
	}
}

// decode64 decodes base64 with or without its padding.
func decode64(s string) ([]byte, error) {
	return base64.RawStdEncoding.DecodeString(strings.TrimRight(s, "="))
}

// plainDigest is a digest of size bytes of the password alone.
func plainDigest(prefix string, f sum, size int, decode func(string) ([]byte, error), encode func([]byte) string) scheme {
	return scheme{
		prefix: prefix,
		verify: func(hash, clear string) (bool, bool) {
			stored, err := decode(hash)
			if err != nil || len(stored) != size {
				return false, false
			}
			return subtle.ConstantTimeCompare(stored, f([]byte(clear), nil)) == 1, true
		},
		hash: func(_, clear string) (string, error) { return encode(f([]byte(clear), nil)), nil },
	}
}

// saltedDigest is a digest of size bytes of the password and a salt, followed by that salt.
func saltedDigest(prefix string, f sum, size int) scheme {
	return scheme{
		prefix: prefix,
		verify: func(hash, clear string) (bool, bool) {
			stored, err := decode64(hash)
			if err != nil || len(stored) < size+minSalt {
				return false, false
			}
			return subtle.ConstantTimeCompare(stored[:size], f([]byte(clear), stored[size:])) == 1, true
		},
		hash: func(_, clear string) (string, error) {
			salt := make([]byte, newSalt)
			if _, err := rand.Read(salt); err != nil {
				return "", err
			}
			return base64.StdEncoding.EncodeToString(append(f([]byte(clear), salt), salt...)), nil
		},
	}
}
