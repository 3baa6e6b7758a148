package check

import (
	"bytes"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"mailproxy/tests/testcert"
)

// certificates makes files from lines such as
//
//	tls.pem: cert mail.example.com, key mail.example.com
//
// of these parts: "authority" is the certificate that signs all others, cert and key belong together where
// they have the same name, "der" is a certificate in that form, "encrypted" a key that nobody can read. "cert
// NAME -3" has expired three days ago, "cert NAME 3" will in three days; others live for 90. NAME is
// "rsa:NAME" where the key is to be of that kind.
func certificates(t *testing.T, dir, lines string) {
	ca := testcert.CA(t, "Test CA")
	pairs := map[string]*testcert.Pair{}
	for line := range strings.Lines(lines) {
		file, parts, _ := strings.Cut(strings.TrimSpace(line), ": ")
		var content bytes.Buffer
		for part := range strings.SplitSeq(parts, ", ") {
			words := append(strings.Fields(part), "", "90")
			kind, name := words[0], words[1]
			if pairs[name] == nil {
				days, err := strconv.ParseFloat(words[2], 64)
				if err != nil {
					days = 90
				}
				age := -time.Duration(days * 24 * float64(time.Hour))
				plain, isRSA := strings.CutPrefix(name, "rsa:")
				pairs[name] = ca.Issue(t, testcert.Spec{Name: plain, Age: age, RSA: isRSA})
			}
			content.Write(map[string]func() []byte{
				"authority": ca.CertPEM,
				"cert":      pairs[name].CertPEM,
				"key":       func() []byte { return pairs[name].KeyPEM(t) },
				"der":       func() []byte { return pairs[name].DER },
				"encrypted": func() []byte {
					return bytes.ReplaceAll(pairs[name].KeyPEM(t), []byte("PRIVATE"), []byte("ENCRYPTED PRIVATE"))
				},
			}[kind]())
		}
		testcert.Write(t, filepath.Join(dir, file), content.Bytes())
	}
}
