package tls

import (
	"crypto/hmac"
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
)

// cramFuncs computes ${cram} from ${chal} (RFC 2195).
func cramFuncs(user, password string) map[string]func(map[string]string) (string, error) {
	return map[string]func(map[string]string) (string, error){
		"cram": func(vars map[string]string) (string, error) {
			challenge, err := base64.StdEncoding.DecodeString(vars["chal"])
			if err != nil {
				return "", err
			}
			mac := hmac.New(md5.New, []byte(password))
			mac.Write(challenge)
			return base64.StdEncoding.EncodeToString([]byte(user + " " + hex.EncodeToString(mac.Sum(nil)))), nil
		},
	}
}
