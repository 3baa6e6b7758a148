// Package tlsnames knows Courier's names of TLS versions and OpenSSL's of cipher suites, as far as crypto/tls
// has them.
package tlsnames

import (
	"crypto/tls"
	"fmt"
	"strings"
)

// versions maps names, in upper case and without "V", "_" and trailing "+", to the lowest version that is
// spoken. SSL2 and SSL3, which crypto/tls does not have, lower no version, and SSL23 only ever meant
// "whatever there is".
var versions = map[string]uint16{
	"SSL2": 0, "SSL3": 0,
	"SSL23": tls.VersionTLS12,
	"TLS":   tls.VersionTLS12,
	"TLS1":  tls.VersionTLS10, "TLS1.0": tls.VersionTLS10,
	"TLS1.1": tls.VersionTLS11, "TLS11": tls.VersionTLS11,
	"TLS1.2": tls.VersionTLS12, "TLS12": tls.VersionTLS12,
	"TLS1.3": tls.VersionTLS13, "TLS13": tls.VersionTLS13,
}

// ParseVersion returns the lowest version that a list of names allows; 0: the list leaves it open.
func ParseVersion(list string) (lowest uint16, err error) {
	for _, word := range strings.FieldsFunc(list, isSeparator) {
		key := strings.ToUpper(strings.TrimRight(word, "+"))
		key = strings.ReplaceAll(strings.Replace(key, "V", "", 1), "_", ".")
		v, ok := versions[key]
		switch {
		case !ok:
			return 0, fmt.Errorf("no such version: %q; must be TLSv1, TLSv1.1, TLSv1.2 or TLSv1.3", word)
		case lowest == 0 || v != 0 && v < lowest:
			lowest = v
		}
	}
	return lowest, nil
}

func isSeparator(r rune) bool { return r == ',' || r == ':' || r == ' ' || r == '\t' }
