package tlsnames

import (
	"crypto/tls"
	"slices"
	"strings"
)

// cipher is a suite of TLS 1.2 and below that crypto/tls has. Those of TLS 1.3 cannot be chosen, neither
// here nor by OpenSSL's cipher lists.
type cipher struct {
	id   uint16
	name string // OpenSSL's
	tags string // blank-separated OpenSSL keywords that select it, alone or joined by "+"
	weak bool   // no forward secrecy, or broken: only selected by name or by a keyword that says so
}

const (
	ecdheRSA   = "ECDHE EECDH kECDHE kEECDH aRSA "
	ecdheECDSA = "ECDHE EECDH kECDHE kEECDH aECDSA ECDSA "
	plainRSA   = "RSA kRSA aRSA "
)

var ciphers = []cipher{
	{
		tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
		"ECDHE-ECDSA-AES128-GCM-SHA256",
		ecdheECDSA + "AES AES128 AESGCM SHA256 TLSv1.2 HIGH",
		false,
	},
	{
		tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
		"ECDHE-RSA-AES128-GCM-SHA256",
		ecdheRSA + "AES AES128 AESGCM SHA256 TLSv1.2 HIGH",
		false,
	},
	{
		tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
		"ECDHE-ECDSA-AES256-GCM-SHA384",
		ecdheECDSA + "AES AES256 AESGCM SHA384 TLSv1.2 HIGH",
		false,
	},
	{
		tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
		"ECDHE-RSA-AES256-GCM-SHA384",
		ecdheRSA + "AES AES256 AESGCM SHA384 TLSv1.2 HIGH",
		false,
	},
	{
		tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
		"ECDHE-ECDSA-CHACHA20-POLY1305",
		ecdheECDSA + "CHACHA20 SHA256 TLSv1.2 HIGH",
		false,
	},
	{
		tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
		"ECDHE-RSA-CHACHA20-POLY1305",
		ecdheRSA + "CHACHA20 SHA256 TLSv1.2 HIGH",
		false,
	},
	{
		tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA,
		"ECDHE-ECDSA-AES128-SHA",
		ecdheECDSA + "AES AES128 SHA SHA1 TLSv1 TLSv1.0 HIGH",
		false,
	},
	{
		tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA,
		"ECDHE-RSA-AES128-SHA",
		ecdheRSA + "AES AES128 SHA SHA1 TLSv1 TLSv1.0 HIGH",
		false,
	},
	{
		tls.TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA,
		"ECDHE-ECDSA-AES256-SHA",
		ecdheECDSA + "AES AES256 SHA SHA1 TLSv1 TLSv1.0 HIGH",
		false,
	},
	{
		tls.TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA,
		"ECDHE-RSA-AES256-SHA",
		ecdheRSA + "AES AES256 SHA SHA1 TLSv1 TLSv1.0 HIGH",
		false,
	},
	{
		tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256,
		"ECDHE-ECDSA-AES128-SHA256",
		ecdheECDSA + "AES AES128 SHA256 TLSv1.2 HIGH",
		true,
	},
	{
		tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256,
		"ECDHE-RSA-AES128-SHA256",
		ecdheRSA + "AES AES128 SHA256 TLSv1.2 HIGH",
		true,
	},
	{
		tls.TLS_RSA_WITH_AES_128_GCM_SHA256,
		"AES128-GCM-SHA256",
		plainRSA + "AES AES128 AESGCM SHA256 TLSv1.2 HIGH",
		true,
	},
	{
		tls.TLS_RSA_WITH_AES_256_GCM_SHA384,
		"AES256-GCM-SHA384",
		plainRSA + "AES AES256 AESGCM SHA384 TLSv1.2 HIGH",
		true,
	},
	{tls.TLS_RSA_WITH_AES_128_CBC_SHA256, "AES128-SHA256", plainRSA + "AES AES128 SHA256 TLSv1.2 HIGH", true},
	{tls.TLS_RSA_WITH_AES_128_CBC_SHA, "AES128-SHA", plainRSA + "AES AES128 SHA SHA1 SSLv3 HIGH", true},
	{tls.TLS_RSA_WITH_AES_256_CBC_SHA, "AES256-SHA", plainRSA + "AES AES256 SHA SHA1 SSLv3 HIGH", true},
	{
		tls.TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA,
		"ECDHE-RSA-DES-CBC3-SHA",
		ecdheRSA + "3DES SHA SHA1 TLSv1 TLSv1.0 MEDIUM",
		true,
	},
	{tls.TLS_RSA_WITH_3DES_EDE_CBC_SHA, "DES-CBC3-SHA", plainRSA + "3DES SHA SHA1 SSLv3 MEDIUM", true},
	{tls.TLS_ECDHE_ECDSA_WITH_RC4_128_SHA, "ECDHE-ECDSA-RC4-SHA", ecdheECDSA + "RC4 SHA SHA1 MEDIUM", true},
	{tls.TLS_ECDHE_RSA_WITH_RC4_128_SHA, "ECDHE-RSA-RC4-SHA", ecdheRSA + "RC4 SHA SHA1 MEDIUM", true},
	{tls.TLS_RSA_WITH_RC4_128_SHA, "RC4-SHA", plainRSA + "RC4 SHA SHA1 MEDIUM", true},
}

// weakKeywords ask for weak suites in so many words; every other keyword passes them over.
const weakKeywords = " kRSA RSA 3DES RC4 MEDIUM "

// emptyKeywords are OpenSSL's for suites that crypto/tls never has. Excluding them is common and right, so
// it is silent.
const emptyKeywords = " LOW EXP EXPORT EXPORT40 EXPORT56 NULL eNULL aNULL ADH AECDH DH kDHE kEDH DHE EDH " +
	"aDSS DSS DES RC2 IDEA SEED " +
	"CAMELLIA CAMELLIA128 CAMELLIA256 ARIA ARIA128 ARIA256 ARIAGCM AESCCM AESCCM8 MD5 GOST PSK kPSK kRSAPSK " +
	"kDHEPSK kECDHEPSK aPSK SRP kSRP aSRP " +
	"SSLv2 COMPLEMENTOFALL COMPLEMENTOFDEFAULT kDH kDHr kDHd aDH kECDH kECDHe kECDHr aECDH KRB5 FZA "

// ParseCiphers reads an OpenSSL cipher list: names and keywords separated by colons, commas or blanks,
// "!" removes for good, "-" removes, "+" only reorders. crypto/tls has an order of its own, so order is
// not kept. unknown are the words that are not understood.
func ParseCiphers(list string) (ids []uint16, unknown []string) {
	killed := map[uint16]bool{}
	for _, word := range strings.FieldsFunc(list, isSeparator) {
		if word, _, _ = strings.Cut(word, "@"); word == "" {
			continue // @STRENGTH and @SECLEVEL=n, alone or after a word
		}
		op := word[0]
		if op == '!' || op == '-' || op == '+' {
			word = word[1:]
		} else {
			op = 0
		}
		found, known := selectCiphers(word, op == '!' || op == '-')
		if !known {
			unknown = append(unknown, word)
		}
		for _, id := range found {
			switch op {
			case '!':
				killed[id] = true
				ids = slices.DeleteFunc(ids, func(have uint16) bool { return have == id })
			case '-':
				ids = slices.DeleteFunc(ids, func(have uint16) bool { return have == id })
			case 0:
				if !killed[id] && !slices.Contains(ids, id) {
					ids = append(ids, id)
				}
			}
		}
	}
	return ids, unknown
}

// selectCiphers returns the suites that a name or a "+"-joined keyword combination means. all includes
// weak ones, as removing must.
func selectCiphers(word string, all bool) (ids []uint16, known bool) {
	for _, c := range ciphers {
		if word == c.name || word == tls.CipherSuiteName(c.id) {
			return []uint16{c.id}, true
		}
	}
	if strings.HasPrefix(word, "TLS_AES_") || strings.HasPrefix(word, "TLS_CHACHA20_") {
		return nil, true // TLS 1.3: always there
	}
	keywords := strings.Split(word, "+")
	weak := all
	for _, k := range keywords {
		if k == "" {
			return nil, false
		}
		weak = weak || hasWord(weakKeywords, k)
	}
	for _, c := range ciphers {
		if (!c.weak || weak) && !slices.ContainsFunc(keywords, func(k string) bool { return !c.is(k) }) {
			ids = append(ids, c.id)
			known = true
		}
	}
	// Nothing selected: known when each keyword is one of OpenSSL's and removing or combining them just meets
	// nothing.
	if !known && (all || len(keywords) > 1) {
		known = !slices.ContainsFunc(keywords, func(k string) bool { return !isKeyword(k) })
	}
	return ids, known
}

func (c *cipher) is(keyword string) bool {
	return keyword == "ALL" || keyword == "DEFAULT" || hasWord(" "+c.tags+" ", keyword)
}

func isKeyword(k string) bool {
	return hasWord(emptyKeywords, k) || slices.ContainsFunc(ciphers, func(c cipher) bool { return c.is(k) })
}

func hasWord(words, w string) bool {
	return !strings.Contains(w, " ") && strings.Contains(words, " "+w+" ")
}
