package harness

import (
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"

	"mailproxy/authlib"
)

// ShowAnswer prints everything that the answer of an auth module holds in one line, for comparing two of
// them: "refused", "temporary failure", or all fields of the account.
func ShowAnswer(a *authlib.Account, err error) string {
	switch {
	case errors.Is(err, authlib.ErrRefused):
		return "refused"
	case err != nil:
		return "temporary failure"
	}
	id := func(n *uint32) string {
		if n == nil {
			return "-"
		}
		return fmt.Sprint(*n)
	}
	return fmt.Sprintf(
		"system=%q uid=%s gid=%s home=%q address=%q name=%q maildir=%q quota=%q passwd=%q passwd2=%q options=%q",
		a.SystemUser,
		id(a.UID),
		id(a.GID),
		a.Home,
		a.Address,
		a.FullName,
		a.Maildir,
		a.Quota,
		a.CryptPassword,
		a.ClearPassword,
		a.Options,
	)
}

// CRAMRequest is a login with one of the challenge mechanisms, RFC 2195.
func CRAMRequest(service string, kind authlib.AuthType, user, password string) *authlib.AuthRequest {
	const challenge = "<0123456789abcdef@proxy>"
	return &authlib.AuthRequest{Service: service, Type: kind, Challenge: []byte(challenge),
		Response: CRAMResponse(kind, user, password, challenge)}
}

// CRAMResponse is a client's response to a challenge, without base64.
func CRAMResponse(kind authlib.AuthType, user, password, challenge string) []byte {
	sum := map[authlib.AuthType]func() hash.Hash{
		authlib.AuthCRAMMD5: md5.New, authlib.AuthCRAMSHA1: sha1.New, authlib.AuthCRAMSHA256: sha256.New,
	}[kind]
	mac := hmac.New(sum, []byte(password))
	mac.Write([]byte(challenge))
	return []byte(user + " " + hex.EncodeToString(mac.Sum(nil)))
}
