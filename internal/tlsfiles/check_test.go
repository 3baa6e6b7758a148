package tlsfiles

import (
	"encoding/pem"
	"strings"
	"testing"
)

// FuzzCheck: files in which encoding/pem finds a certificate and a key, as the handshake will, are never refused.
func FuzzCheck(f *testing.F) {
	f.Add(cert+key, "")
	f.Add("text\n"+strings.ReplaceAll(cert, "\n", "\r\n"), key)
	f.Add(cert[5:]+cert, key[:30]+"\n"+key)
	f.Add("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----", strings.ReplaceAll(key, "PRIVATE", "EC PRIVATE"))
	f.Add(cert, strings.Replace(key, "\n", "\nProc-Type: 4,ENCRYPTED\n\n", 1))
	f.Fuzz(func(t *testing.T, certPEM, keyPEM string) {
		if keyPEM == "" {
			keyPEM = certPEM
		}
		_, hasCert := first(certPEM, func(b *pem.Block) bool { return b.Type == "CERTIFICATE" })
		block, hasKey := first(keyPEM, func(b *pem.Block) bool { return strings.HasSuffix(b.Type, "PRIVATE KEY") })
		text := Text{Cert: []byte(certPEM), Key: []byte(keyPEM)}
		err := text.check()
		if hasCert && hasKey && err != nil && !strings.Contains(keyPEM, "ENCRYPTED") {
			t.Errorf("%v, but there is a %s", err, block.Type)
		}
	})
}

func first(text string, wanted func(*pem.Block) bool) (*pem.Block, bool) {
	for block, rest := pem.Decode([]byte(text)); block != nil; block, rest = pem.Decode(rest) {
		if wanted(block) {
			return block, true
		}
	}
	return nil, false
}
