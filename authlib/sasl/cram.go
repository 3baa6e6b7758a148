package sasl

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"fmt"

	"mailproxy/authlib"
)

// cram is RFC 2195 and the same with other hashes: the answer to a challenge is the user's name and the HMAC
// of the challenge keyed with the password. The auth module, which has the password, does the sum.
type cram struct {
	learned
	mechanism string
	authType  authlib.AuthType
	digestLen int // hex digits
	hostname  string
	nonce     func() []byte // the part of the challenge that nobody can guess
	challenge []byte        // nil = it has not been sent
}

func newCRAM(mechanism string, opts Options) (exchange, error) {
	c := &cram{mechanism: mechanism, hostname: opts.Hostname, nonce: newNonce}
	switch mechanism {
	case "CRAM-MD5":
		c.authType, c.digestLen = authlib.AuthCRAMMD5, 32
	case "CRAM-SHA1":
		c.authType, c.digestLen = authlib.AuthCRAMSHA1, 40
	default:
		c.authType, c.digestLen = authlib.AuthCRAMSHA256, 64
	}
	return c, nil
}

func newNonce() []byte {
	nonce := make([]byte, 16)
	_, _ = rand.Read(nonce) // which never fails
	return nonce
}

func (c *cram) Next(response []byte) ([]byte, bool, error) {
	if c.challenge == nil {
		if response != nil {
			// The server speaks first: an answer to a question not yet asked (RFC 4422 section 5, 3a).
			return nil, false, fmt.Errorf("%w: %s has no initial response", ErrMalformed, c.mechanism)
		}
		c.challenge = fmt.Appendf(nil, "<%x@%s>", c.nonce(), c.hostname)
		return c.challenge, false, nil
	}
	// The last space separates: names may hold spaces.
	i := bytes.LastIndexByte(response, ' ')
	if i < 0 {
		return nil, false, ErrMalformed
	}
	user, digest := string(response[:i]), response[i+1:]
	if err := Check(user, ""); err != nil {
		return nil, false, err
	}
	if _, err := hex.Decode(make([]byte, len(digest)/2+1), digest); err != nil || len(digest) != c.digestLen {
		return nil, false, fmt.Errorf("%w: not a digest", ErrMalformed)
	}
	c.cred = Credentials{
		Mechanism: c.mechanism, Type: c.authType, User: user,
		Challenge: c.challenge, Response: bytes.Clone(response),
	}
	return nil, true, nil
}
