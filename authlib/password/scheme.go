package password

import (
	"encoding/base64"
	"encoding/hex"
	"strings"
	"sync"
)

// scheme is one way to store passwords.
type scheme struct {
	// name is the {SCHEME} in lower case, or the prefix that crypt(3) tells it by.
	name string
	// bytes: what is stored are bytes, which are written in base64, or in hexadecimal digits when hex is set.
	// size is how many there are, 0 = it differs. Otherwise what is stored is text.
	bytes, hex bool
	// slow: to compute it is made to take time.
	slow bool
	size int
	// verify compares in constant time; ok is false for a damaged hash.
	verify func(stored, clear string) (match, ok bool)
	// hash makes a new one with the costs of like, which may also be empty.
	hash func(like, clear string) (string, error)
}

// crypts are the schemes of crypt(3), named those with a name in braces, by name; made when they are first
// asked for. No prefix of crypt(3) is the beginning of another.
var (
	crypts = sync.OnceValue(cryptSchemes)
	named  = sync.OnceValue(func() map[string]scheme {
		m := make(map[string]scheme)
		for _, list := range [][]scheme{digestSchemes(), clearSchemes(), derivedSchemes()} {
			for _, s := range list {
				m[s.name] = s
			}
		}
		return m
	})
)

// cryptNames are the names in braces for crypt(3), each with the prefix that a new hash gets.
var cryptNames = map[string]string{
	"{crypt}": "", "{des-crypt}": "", "{md5-crypt}": "$1$", "{blf-crypt}": "$2y$", "{sha256-crypt}": "$5$",
	"{sha512-crypt}": "$6$", "{argon2i}": "$argon2i$", "{argon2id}": "$argon2id$",
}

// found is a stored hash taken apart.
type found struct {
	scheme
	// before is what stands in front: "{SSHA}", "{crypt}", or nothing.
	before string
	stored string
	// encode writes what is stored as it was written.
	encode func(stored string) string
}

func asIs(s string) string { return s }

// find takes a stored hash apart. The error is an *UnknownSchemeError; a damaged one comes with the scheme.
func find(hash string) (f found, err error) {
	f.encode = asIs
	if !strings.HasPrefix(hash, "{") {
		return f.crypt(hash)
	}
	end := strings.IndexByte(hash, '}')
	if end < 0 {
		return f, &UnknownSchemeError{scheme: "{ without }"}
	}
	f.before = hash[:end+1]
	text := hash[end+1:]
	name, encoding, _ := strings.Cut(strings.ToLower(hash[1:end]), ".")
	name = "{" + name + "}"
	switch encoding {
	case "", "hex", "b64", "base64":
	default:
		return f, &UnknownSchemeError{scheme: printable(f.before)}
	}
	if s, ok := named()[name]; ok && s.bytes {
		f.scheme = s
		return f.decode(text, encoding)
	}
	if encoding != "" {
		raw, ok := decode(text, encoding == "hex")
		if !ok {
			return f, &UnknownSchemeError{scheme: printable(f.before), damaged: true}
		}
		text, f.encode = raw, encoder(encoding == "hex")
	}
	// Some write {MD5} for {MD5-CRYPT}, and {SHA512} for {SHA512-CRYPT}: the $ tells.
	if prefix, ok := cryptNames[name]; ok {
		if text == "" {
			text = prefix
		}
		return f.crypt(text)
	}
	s, ok := named()[name]
	if !ok {
		return f, &UnknownSchemeError{scheme: printable(f.before)}
	}
	f.scheme, f.stored = s, text
	return f, nil
}

// decode takes the text of a scheme that stores bytes.
func (f found) decode(text, encoding string) (found, error) {
	if strings.HasPrefix(text, "$") && encoding == "" {
		if c, err := f.crypt(text); err == nil && (c.name == "$1$" && f.name == "{md5}") {
			return c, nil
		}
	}
	asHex := encoding == "hex"
	if encoding == "" {
		// Hexadecimal digits are told by their number, as Dovecot tells them.
		asHex = f.hex
		if f.size > 0 {
			_, err := hex.DecodeString(text)
			asHex = err == nil && len(text) == 2*f.size || text == "" && f.hex
		}
	}
	raw, ok := decode(text, asHex)
	f.encode = encoder(asHex)
	f.stored = raw
	if !ok || f.size > 0 && len(raw) != f.size {
		f.stored = ""
		return f, &UnknownSchemeError{scheme: strings.ToUpper(f.name), damaged: true}
	}
	return f, nil
}

// crypt finds the scheme of a hash that crypt(3) would tell by its beginning.
func (f found) crypt(text string) (found, error) {
	f.stored = text
	for _, s := range crypts() {
		if strings.HasPrefix(text, s.name) {
			f.scheme = s
			return f, nil
		}
	}
	switch {
	case strings.HasPrefix(text, "$"):
		// The name only: what follows the second dollar is the hash.
		name, _, ok := strings.Cut(text[1:], "$")
		if !ok {
			return f, &UnknownSchemeError{scheme: "$ without a second $"}
		}
		return f, &UnknownSchemeError{scheme: printable("$" + name + "$")}
	case isDES(text), text == "" && strings.EqualFold(f.before, "{des-crypt}"):
		f.scheme = scheme{name: "DES", verify: verifyDES, hash: hashDES}
		return f, nil
	case text == "":
		return f, &UnknownSchemeError{scheme: "(empty)"}
	}
	return f, &UnknownSchemeError{scheme: "(none)"}
}

// decode decodes hexadecimal digits of either case, or base64 with or without its padding.
func decode(text string, asHex bool) (string, bool) {
	if asHex {
		raw, err := hex.DecodeString(text)
		return string(raw), err == nil
	}
	raw, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(text, "="))
	return string(raw), err == nil
}

// encoder returns the opposite of decode.
func encoder(asHex bool) func(string) string {
	if asHex {
		return func(s string) string { return hex.EncodeToString([]byte(s)) }
	}
	return func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
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
