// Package scram holds the keys that an account database stores for SCRAM (RFC 5802, RFC 7677) in place of a
// password: making them, reading them, writing them. With these keys one can verify a password and a client's
// proof, but can neither log in nor read the password from them. The exchange with a client is here too, as
// messages in and messages out; package sasl knows which keys are whose.
//
// The written form is that of Dovecot: "{SCRAM-SHA-256}ITERATIONS,SALT,STORED-KEY,SERVER-KEY", the last three
// in base64. PostgreSQL has the same values in another order: SCRAM-SHA-256$ITERATIONS:SALT$STORED:SERVER.
package scram

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"strconv"
	"strings"
)

// Iterations of PBKDF2: those of new keys, and the most that stored ones may ask for.
const (
	DefaultIterations = 10_000
	maxIterations     = 10_000_000
)

// saltSize is that of new keys in bytes, the size that Dovecot and PostgreSQL write as well.
const saltSize = 16

// errDamaged says that stored keys are not of the form that they should have.
var errDamaged = errors.New("damaged SCRAM keys")

// Hash is the hash function that a mechanism is named after.
type Hash struct {
	// Name is the mechanism's, SCRAM-SHA-256 for example, and with braces around it the scheme's.
	Name string
	new  func() hash.Hash
	// Size is that of a digest, and of each key, in bytes.
	Size int
}

// SHA1 is the hash of SCRAM-SHA-1.
func SHA1() Hash { return Hash{"SCRAM-SHA-1", sha1.New, sha1.Size} }

// SHA256 is the hash of SCRAM-SHA-256.
func SHA256() Hash { return Hash{"SCRAM-SHA-256", sha256.New, sha256.Size} }

// Keys are what is stored for an account and a hash.
type Keys struct {
	Salt       []byte
	Iterations int
	// Stored verifies the client's proof, Server makes the server's (RFC 5802 section 3).
	Stored, Server []byte
}

// Parse reads keys without the scheme in front.
func (h Hash) Parse(text string) (Keys, error) {
	field := strings.Split(text, ",")
	if len(field) != 4 {
		return Keys{}, errDamaged
	}
	n, err := strconv.Atoi(field[0])
	if err != nil || n < 1 || n > maxIterations {
		return Keys{}, errDamaged
	}
	var raw [3][]byte
	for i, f := range field[1:] {
		raw[i], err = base64.RawStdEncoding.DecodeString(strings.TrimRight(f, "="))
		if err != nil {
			return Keys{}, errDamaged
		}
	}
	k := Keys{Iterations: n, Salt: raw[0], Stored: raw[1], Server: raw[2]}
	if len(k.Salt) == 0 || len(k.Stored) != h.Size || len(k.Server) != h.Size {
		return Keys{}, errDamaged
	}
	return k, nil
}

// Find reads keys from a stored hash, "{SCRAM-SHA-256}..." in any case. ok is false if the stored hash has
// another scheme.
func (h Hash) Find(stored string) (k Keys, ok bool, err error) {
	scheme := len(h.Name) + len("{}")
	if len(stored) < scheme || !strings.EqualFold(stored[:scheme], "{"+h.Name+"}") {
		return Keys{}, false, nil
	}
	k, err = h.Parse(stored[scheme:])
	return k, true, err
}

// String writes keys as Parse reads them. They are as secret as hashes.
func (k Keys) String() string {
	enc := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("%d,%s,%s,%s", k.Iterations, enc(k.Salt), enc(k.Stored), enc(k.Server))
}

// Make makes keys of a password, with a salt of their own.
func (h Hash) Make(clear string, iterations int) (Keys, error) {
	salt := make([]byte, saltSize)
	_, _ = rand.Read(salt) // never fails: it ends the process instead
	return h.Derive(clear, salt, iterations)
}

// Derive computes the keys of a password. The password is prepared first (RFC 5802 section 2.2), as clients
// do, so that a password in another Unicode form is the same one; what cannot be prepared, Latin-1
// for example, counts as it is.
func (h Hash) Derive(clear string, salt []byte, iterations int) (Keys, error) {
	return h.derive(prepare(clear), salt, iterations)
}

func (h Hash) derive(clear string, salt []byte, iterations int) (Keys, error) {
	salted, err := pbkdf2.Key(h.new, clear, salt, iterations, h.Size)
	if err != nil {
		return Keys{}, err
	}
	stored := h.new()
	stored.Write(h.mac(salted, "Client Key"))
	return Keys{
		Salt: salt, Iterations: iterations, Stored: stored.Sum(nil), Server: h.mac(salted, "Server Key"),
	}, nil
}

func (h Hash) mac(key []byte, text string) []byte {
	m := hmac.New(h.new, key)
	m.Write([]byte(text))
	return m.Sum(nil)
}

// Verify says whether keys are those of a password, as it is or prepared: Dovecot makes them of the former,
// PostgreSQL of the latter. It compares in constant time.
func (h Hash) Verify(k Keys, clear string) (bool, error) {
	made, err := h.derive(clear, k.Salt, k.Iterations)
	if err != nil {
		return false, err
	}
	match := hmac.Equal(made.Stored, k.Stored)
	if prepared := prepare(clear); !match && prepared != clear {
		if made, err = h.derive(prepared, k.Salt, k.Iterations); err != nil {
			return false, err
		}
		match = hmac.Equal(made.Stored, k.Stored)
	}
	return match, nil
}
