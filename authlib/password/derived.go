package password

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"github.com/go-crypt/x/scrypt"
	"github.com/go-crypt/x/yescrypt"

	"mailproxy/authlib/scram"
)

// Key derivations: PBKDF2 as Dovecot stores it, the stored keys of SCRAM, and scrypt of crypt(3).

// Rounds of new hashes, and the most that a stored one may ask for.
const (
	newRounds  = 10000
	maxRounds  = 10000000
	maxScryptN = 1 << 20 // bytes of memory are 128 times N times r
)

// derivedSchemes lists those with a name in braces.
func derivedSchemes() []scheme {
	return []scheme{
		{name: "{pbkdf2}", slow: true, verify: verifyPBKDF2, hash: hashPBKDF2},
		scramKeys(scram.SHA1()), scramKeys(scram.SHA256()),
	}
}

// rounds reads a number of rounds.
func rounds(text string) (int, bool) {
	n, err := strconv.Atoi(text)
	return n, err == nil && n >= 1 && n <= maxRounds
}

// verifyPBKDF2 takes "$1$SALT$ROUNDS$HEX": SHA-1, the salt is the text itself.
func verifyPBKDF2(stored, clear string) (bool, bool) {
	f := strings.Split(stored, "$")
	if len(f) != 5 || f[0] != "" || f[1] != "1" {
		return false, false
	}
	n, ok := rounds(f[3])
	digest, err := hex.DecodeString(f[4])
	if !ok || err != nil || len(digest) != sha1.Size {
		return false, false
	}
	made, err := pbkdf2.Key(sha1.New, clear, []byte(f[2]), n, sha1.Size)
	return err == nil && hmac.Equal(digest, made), err == nil
}

func hashPBKDF2(like, clear string) (string, error) {
	n := newRounds
	if f := strings.Split(like, "$"); len(f) == 5 {
		if old, ok := rounds(f[3]); ok {
			n = old
		}
	}
	salt := salt(16)
	made, err := pbkdf2.Key(sha1.New, clear, []byte(salt), n, sha1.Size)
	return fmt.Sprintf("$1$%s$%d$%x", salt, n, made), err
}

// scramKeys is a scheme of package scram.
func scramKeys(h scram.Hash) scheme {
	return scheme{
		name: "{" + strings.ToLower(h.Name) + "}", slow: true,
		verify: func(text, clear string) (bool, bool) {
			keys, err := h.Parse(text)
			if err != nil {
				return false, false
			}
			match, err := h.Verify(keys, clear)
			return match, err == nil
		},
		hash: func(like, clear string) (string, error) {
			n := scram.DefaultIterations
			if old, err := h.Parse(like); err == nil {
				n = old.Iterations
			}
			keys, err := h.Make(clear, n)
			return keys.String(), err
		},
	}
}

// scryptSetting is what stands in front of the digest of a crypt(3) scrypt hash: "$7$", log2 of N in one
// character, r and p in five each, low bits first, and the salt, which is the text itself.
func scryptSetting(text string) (n, r, p int, salt string, ok bool) {
	const head = len("$7$")
	if len(text) < head+11 {
		return 0, 0, 0, "", false
	}
	number := func(s string) (v int) {
		for i := range len(s) {
			v |= strings.IndexByte(cryptAlphabet, s[i]) << (6 * i)
		}
		return v
	}
	if strings.Trim(text[head:head+11], cryptAlphabet) != "" {
		return 0, 0, 0, "", false
	}
	bits := number(text[head : head+1])
	r, p, salt = number(text[head+1:head+6]), number(text[head+6:head+11]), text[head+11:]
	if bits < 1 || bits > 20 || r < 1 || p < 1 || r > 64 || p > 64 || (r*p)<<bits > 8*maxScryptN {
		return 0, 0, 0, "", false
	}
	return 1 << bits, r, p, salt, true
}

// scryptHash computes the hash of a setting.
func scryptHash(setting, clear string) (string, bool) {
	n, r, p, salt, ok := scryptSetting(setting)
	if !ok {
		return "", false
	}
	var err error
	made := alone(func() (made []byte) {
		made, err = scrypt.Key([]byte(clear), []byte(salt), n, r, p, 32)
		return made
	})
	return setting + "$" + string(yescrypt.Encode64(made)), err == nil
}

func verifyScrypt(hash, clear string) (bool, bool) {
	end := strings.LastIndexByte(hash, '$')
	if end < len("$7$") || len(hash)-end-1 != 43 {
		return false, false
	}
	made, ok := scryptHash(hash[:end], clear)
	return ok && same(hash, made), ok
}

func hashScrypt(like, clear string) (string, error) {
	costs := "C6..../...." // N = 16384, r = 8, p = 1
	if _, _, _, _, ok := scryptSetting(like); ok {
		costs = like[len("$7$"):][:11]
	}
	hash, ok := scryptHash("$7$"+costs+salt(22), clear)
	if !ok {
		return "", fmt.Errorf("scrypt: costs %q", costs)
	}
	return hash, nil
}
