package password

import (
	"bytes"
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"encoding"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"

	"mailproxy/authlib"
)

// errSecret says that a stored CRAM secret is not hex of two hash states of its mechanism.
var errSecret = errors.New("damaged CRAM secret")

// mechanism is what the HMAC of a CRAM mechanism needs. A state is the hash's inner state after one block,
// big or little endian words as the hash prints them.
type mechanism struct {
	new func() hash.Hash
	// size of a digest and of a state, in bytes: the three hashes print their whole state.
	size int
	// magic begins the state that the standard library marshals.
	magic string
	// swap: the words of a printed state are little endian (MD5), but marshalled big endian.
	swap bool
}

// mechanismOf returns what a CRAM mechanism of the authdaemon protocol needs.
func mechanismOf(t authlib.AuthType) (mechanism, bool) {
	switch t {
	case authlib.AuthCRAMMD5:
		return mechanism{new: md5.New, size: md5.Size, magic: "md5\x01", swap: true}, true
	case authlib.AuthCRAMSHA1:
		return mechanism{new: sha1.New, size: sha1.Size, magic: "sha\x01"}, true
	case authlib.AuthCRAMSHA256:
		return mechanism{new: sha256.New, size: sha256.Size, magic: "sha\x03"}, true
	}
	return mechanism{}, false
}

// digestOf returns the digest in a response "user SPACE hex-digest", hex of either case; nil if there is none
// of the right size.
func digestOf(response []byte, size int) []byte {
	i := bytes.LastIndexByte(response, ' ')
	digest := make([]byte, size)
	if i < 0 || len(response)-i-1 != 2*size {
		return nil
	}
	if _, err := hex.Decode(digest, response[i+1:]); err != nil {
		return nil
	}
	return digest
}

// NoSecret is why an account of which this hash is stored, and no clear password, is refused to CRAM: locked
// as for every login, or authlib.ErrNoSecret.
func NoSecret(account, hash string) error {
	if hash != "" && Locked(hash) {
		return authlib.ErrRefused
	}
	return fmt.Errorf("%w: account %q", authlib.ErrNoSecret, account)
}

// VerifyCRAM tells whether response ("user SPACE hex-digest", decoded from base64) answers challenge
// (decoded) with the clear password, which is a stored one: no stranger chooses how long it is. It is false
// for a type that is not CRAM.
func VerifyCRAM(clear string, t authlib.AuthType, challenge, response []byte) bool {
	m, ok := mechanismOf(t)
	if !ok {
		return false
	}
	got := digestOf(response, m.size)
	mac := hmac.New(m.new, []byte(clear))
	mac.Write(challenge)
	return got != nil && hmac.Equal(got, mac.Sum(nil))
}

// VerifyCRAMSecret is VerifyCRAM for a stored secret in place of the password: hex of the hash states after
// the outer key block, then after the inner one, as [CRAMSecret] makes it.
func VerifyCRAMSecret(secret string, t authlib.AuthType, challenge, response []byte) (bool, error) {
	m, ok := mechanismOf(t)
	if !ok {
		return false, nil
	}
	states, err := hex.DecodeString(secret)
	if err != nil || len(states) != 2*m.size {
		return false, errSecret
	}
	outer, err := m.restore(states[:m.size])
	if err != nil {
		return false, err
	}
	inner, err := m.restore(states[m.size:])
	if err != nil {
		return false, err
	}
	inner.Write(challenge)
	outer.Write(inner.Sum(nil))
	got := digestOf(response, m.size)
	return got != nil && hmac.Equal(got, outer.Sum(nil)), nil
}

// CRAMSecret returns the secret of a clear password for one mechanism; "" for a type that is not CRAM.
func CRAMSecret(clear string, t authlib.AuthType) string {
	m, ok := mechanismOf(t)
	if !ok {
		return ""
	}
	key := []byte(clear)
	if h := m.new(); len(key) > h.BlockSize() {
		h.Write(key)
		key = h.Sum(nil)
	}
	return hex.EncodeToString(append(m.state(key, 0x5c), m.state(key, 0x36)...))
}

// state returns the printed state of the hash after one block of the key with every byte XORed with pad (RFC
// 2104).
func (m mechanism) state(key []byte, pad byte) []byte {
	h := m.new()
	block := make([]byte, h.BlockSize())
	copy(block, key)
	for i := range block {
		block[i] ^= pad
	}
	h.Write(block)
	raw, err := h.(encoding.BinaryMarshaler).MarshalBinary()
	if err != nil || len(raw) < len(m.magic)+m.size {
		return nil
	}
	return m.words(raw[len(m.magic) : len(m.magic)+m.size])
}

// restore returns a hash that has taken one block and is in the printed state.
func (m mechanism) restore(state []byte) (hash.Hash, error) {
	h := m.new()
	raw := append([]byte(m.magic), m.words(state)...)
	raw = append(raw, make([]byte, h.BlockSize())...)
	raw = binary.BigEndian.AppendUint64(raw, uint64(h.BlockSize()))
	if err := h.(encoding.BinaryUnmarshaler).UnmarshalBinary(raw); err != nil {
		return nil, errSecret
	}
	return h, nil
}

// words converts a state between the printed and the marshalled order of bytes.
func (m mechanism) words(state []byte) []byte {
	out := make([]byte, len(state))
	for i := 0; i < len(state); i += 4 {
		w := binary.BigEndian.Uint32(state[i:])
		if m.swap {
			binary.LittleEndian.PutUint32(out[i:], w)
		} else {
			binary.BigEndian.PutUint32(out[i:], w)
		}
	}
	return out
}
