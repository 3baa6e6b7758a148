package password

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"hash"
	"runtime"
	"strconv"
	"strings"

	"github.com/go-crypt/x/argon2"
	"github.com/go-crypt/x/bcrypt"
	"github.com/go-crypt/x/crypt"
	"github.com/go-crypt/x/yescrypt"
)

// Formats of crypt(3), see crypt(5).

// cryptAlphabet is the alphabet of crypt(3)'s salts and hashes.
const cryptAlphabet = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// Costs of new hashes when the old one does not say.
const (
	defaultBcryptCost = 10
	defaultYescrypt   = "$y$j9T$"
)

// Bounds on stored costs: a typing error in the database must not take all of the daemon's memory or time.
const (
	maxArgonMemory  = 1 << 20 // KiB
	maxArgonTime    = 1 << 10
	maxArgonThreads = 64
	maxBcryptCost   = 20
	minSHARounds    = 1000
	maxSHARounds    = 9999999 // beyond it, and this is an hour's work, crypt(3) has 999999999
	defSHARounds    = 5000
)

// heavy holds a token for each computation that takes much memory (16 MiB for yescrypt, 64 MiB for Argon2, as
// they come) and all of a CPU. More at a time than there are CPUs would make none of them faster, and a rush
// of logins would take the machine's memory. It is the one piece of state in this package.
var heavy = make(chan struct{}, runtime.GOMAXPROCS(0))

// alone computes f when few others do.
func alone[T any](f func() T) T {
	heavy <- struct{}{}
	defer func() { <-heavy }()
	return f()
}

// cryptSchemes lists the crypt(3) formats that a prefix tells apart.
func cryptSchemes() []scheme {
	return []scheme{
		{name: "$1$", verify: verifyMD5, hash: hashMD5},
		{name: "$2a$", slow: true, verify: verifyBcrypt, hash: hashBcrypt},
		{name: "$2b$", slow: true, verify: verifyBcrypt, hash: hashBcrypt},
		{name: "$2y$", slow: true, verify: verifyBcrypt, hash: hashBcrypt},
		shaCrypt("$5$", sha256.New, 43),
		shaCrypt("$6$", sha512.New, 86),
		{name: "$y$", slow: true, verify: verifyYescrypt, hash: hashYescrypt},
		{name: "$7$", slow: true, verify: verifyScrypt, hash: hashScrypt},
		{name: "$argon2d$", slow: true, verify: verifyArgon2, hash: hashArgon2},
		{name: "$argon2i$", slow: true, verify: verifyArgon2, hash: hashArgon2},
		{name: "$argon2id$", slow: true, verify: verifyArgon2, hash: hashArgon2},
	}
}

// random returns n random bytes.
func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails: it ends the process instead
	return b
}

// salt returns n random characters of cryptAlphabet.
func salt(n int) string {
	b := random(n)
	for i := range b {
		b[i] = cryptAlphabet[b[i]&63]
	}
	return string(b)
}

// same compares in constant time.
func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

func verifyMD5(hash, clear string) (bool, bool) {
	salt, digest, ok := strings.Cut(hash[len("$1$"):], "$")
	if !ok || len(salt) > 8 || len(digest) != 22 {
		return false, false
	}
	return same(digest, string(crypt.KeyMD5Crypt([]byte(clear), []byte(salt)))), true
}

func hashMD5(_, clear string) (string, error) {
	salt := salt(8)
	return "$1$" + salt + "$" + string(crypt.KeyMD5Crypt([]byte(clear), []byte(salt))), nil
}

// shaCrypt is SHA-crypt with one of its two functions; digest is the length of the encoded hash.
func shaCrypt(prefix string, f func() hash.Hash, digest int) scheme {
	// rounds parses "rounds=N$"; explicit tells whether it was there.
	rounds := func(s string) (n int, explicit bool, rest string) {
		value, ok := strings.CutPrefix(s, "rounds=")
		number, after, ok2 := strings.Cut(value, "$")
		n, err := strconv.Atoi(number)
		if !ok || !ok2 || err != nil || n < 0 {
			return defSHARounds, false, s
		}
		return max(n, minSHARounds), true, after
	}
	return scheme{
		name: prefix, slow: true,
		verify: func(hash, clear string) (bool, bool) {
			n, _, rest := rounds(hash[len(prefix):])
			salt, stored, ok := strings.Cut(rest, "$")
			if !ok || len(salt) > 16 || len(stored) != digest || n > maxSHARounds {
				return false, false
			}
			return same(stored, string(crypt.KeySHACrypt(f, []byte(clear), []byte(salt), n))), true
		},
		hash: func(like, clear string) (string, error) {
			n, explicit, _ := rounds(strings.TrimPrefix(like, prefix))
			salt := salt(16)
			n = min(n, maxSHARounds)
			cost := ""
			if explicit {
				cost = "rounds=" + strconv.Itoa(n) + "$"
			}
			return prefix + cost + salt + "$" + string(crypt.KeySHACrypt(f, []byte(clear), []byte(salt), n)), nil
		},
	}
}

func verifyBcrypt(hash, clear string) (bool, bool) {
	// "$2b$10$" and 53 characters of salt and hash.
	if len(hash) != 60 || hash[6] != '$' || bcryptCost(hash) == 0 ||
		strings.Trim(hash[7:], cryptAlphabet) != "" {
		return false, false
	}
	switch err := bcrypt.CompareHashAndPassword([]byte(hash), []byte(clear)); err {
	case nil:
		return true, true
	case bcrypt.ErrMismatchedHashAndPassword:
		return false, true
	}
	return false, false
}

// bcryptCost returns the cost in a bcrypt hash, or 0.
func bcryptCost(hash string) int {
	if len(hash) < 6 || hash[4] < '0' || hash[4] > '9' || hash[5] < '0' || hash[5] > '9' {
		return 0
	}
	cost := int(hash[4]-'0')*10 + int(hash[5]-'0')
	if cost < bcrypt.MinCost || cost > maxBcryptCost {
		return 0
	}
	return cost
}

func hashBcrypt(like, clear string) (string, error) {
	cost := bcryptCost(like)
	if cost == 0 {
		cost = defaultBcryptCost
	}
	hash, err := bcrypt.GenerateFromPassword([]byte(clear), cost)
	if err != nil {
		return "", err
	}
	// The variants differ in the name only, for the hashes that are made today.
	return like[:len("$2b$")] + string(hash[len("$2b$"):]), nil
}

func verifyYescrypt(hash, clear string) (bool, bool) {
	end := strings.LastIndexByte(hash, '$')
	if end < 7 || len(hash)-end-1 != 43 {
		return false, false
	}
	var err error
	made := alone(func() (made []byte) {
		made, err = yescrypt.Hash([]byte(clear), []byte(hash))
		return made
	})
	return err == nil && same(hash, string(made)), err == nil
}

func hashYescrypt(like, clear string) (string, error) {
	setting := defaultYescrypt
	if len(like) > 7 && like[6] == '$' {
		setting = like[:7]
	}
	hash, err := yescrypt.Hash([]byte(clear), append([]byte(setting), yescrypt.Encode64(random(16))...))
	if err != nil {
		return "", fmt.Errorf("yescrypt: %w", err)
	}
	return string(hash), nil
}

// argon is an Argon2 hash as its reference implementation prints it.
type argon struct {
	kind                  string
	memory, time, threads uint32
	salt, digest          []byte
}

// parseArgon parses "$argon2id$v=19$m=65536,t=3,p=4$SALT$HASH".
func parseArgon(hash string) (a argon, ok bool) {
	f := strings.Split(hash, "$")
	if len(f) != 6 || f[2] != "v=19" {
		return a, false
	}
	costs := strings.Split(f[3], ",")
	if len(costs) != 3 {
		return a, false
	}
	for i, into := range []*uint32{&a.memory, &a.time, &a.threads} {
		value, found := strings.CutPrefix(costs[i], string("mtp"[i])+"=")
		n, err := strconv.ParseUint(value, 10, 32)
		if !found || err != nil {
			return a, false
		}
		*into = uint32(n)
	}
	var err, err2 error
	a.kind = f[1]
	a.salt, err = base64.RawStdEncoding.DecodeString(f[4])
	a.digest, err2 = base64.RawStdEncoding.DecodeString(f[5])
	ok = err == nil && err2 == nil && len(a.salt) >= 8 && len(a.digest) >= 4 && len(a.digest) <= 512 &&
		a.memory <= maxArgonMemory && a.time >= 1 && a.time <= maxArgonTime && a.threads >= 1 &&
		a.threads <= maxArgonThreads
	return a, ok
}

// sum computes the digest of a password.
func (a argon) sum(clear string) []byte {
	f := argon2.IDKey
	switch a.kind {
	case "argon2i":
		f = argon2.IKey
	case "argon2d":
		f = argon2.DKey
	}
	return alone(func() []byte {
		return f([]byte(clear), a.salt, a.time, a.memory, a.threads, uint32(len(a.digest)))
	})
}

func verifyArgon2(hash, clear string) (bool, bool) {
	a, ok := parseArgon(hash)
	if !ok {
		return false, false
	}
	return subtle.ConstantTimeCompare(a.digest, a.sum(clear)) == 1, true
}

func hashArgon2(like, clear string) (string, error) {
	a, ok := parseArgon(like)
	if !ok {
		// The costs that RFC 9106 section 4 recommends where memory is scarce.
		a = argon{kind: strings.Trim(like, "$"), memory: 64 << 10, time: 3, threads: 4, digest: make([]byte, 32)}
		a.kind, _, _ = strings.Cut(a.kind, "$")
	}
	a.salt = random(16)
	enc := base64.RawStdEncoding
	return fmt.Sprintf("$%s$v=19$m=%d,t=%d,p=%d$%s$%s", a.kind, a.memory, a.time, a.threads,
		enc.EncodeToString(a.salt), enc.EncodeToString(a.sum(clear))), nil
}
