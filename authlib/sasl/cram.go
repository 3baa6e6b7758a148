package sasl

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"io"

	"golang.org/x/sys/unix"

	"mailproxy/authlib"
)

// cram is RFC 2195 and the same with other hashes: the answer to a challenge is the user's name and the HMAC
// of the challenge keyed with the password. The auth module, which has the password, does the sum.
type cram struct {
	mechanism string
	authType  authlib.AuthType
	digestLen int // hex digits
	challenge []byte
	sent      bool
	cred      Credentials
}

func newCRAM(mechanism string, opts Options) (exchange, error) {
	c := &cram{mechanism: mechanism}
	switch mechanism {
	case "CRAM-MD5":
		c.authType, c.digestLen = authlib.AuthCRAMMD5, 32
	case "CRAM-SHA1":
		c.authType, c.digestLen = authlib.AuthCRAMSHA1, 40
	default:
		c.authType, c.digestLen = authlib.AuthCRAMSHA256, 64
	}
	random := opts.random
	if random == nil {
		random = kernelRandom{}
	}
	nonce := make([]byte, 16)
	if _, err := io.ReadFull(random, nonce); err != nil {
		return nil, fmt.Errorf("challenge: %w", err)
	}
	c.challenge = fmt.Appendf(nil, "<%x@%s>", nonce, opts.Hostname)
	return c, nil
}

// kernelRandom reads from the kernel. crypto/rand does the same, but links half of crypto, which the programs
// that use this package do without.
type kernelRandom struct{}

func (kernelRandom) Read(p []byte) (int, error) {
	for {
		n, err := unix.Getrandom(p, 0)
		if err != unix.EINTR {
			return max(n, 0), err
		}
	}
}

func (c *cram) Credentials() Credentials { return c.cred }

func (c *cram) Next(response []byte) ([]byte, bool, error) {
	if !c.sent {
		c.sent = true
		if response != nil {
			// The server speaks first: an answer to a question not yet asked (RFC 4422 section 5, 3a).
			return nil, false, fmt.Errorf("%w: %s has no initial response", ErrMalformed, c.mechanism)
		}
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
