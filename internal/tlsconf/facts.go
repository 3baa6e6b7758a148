package tlsconf

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"slices"
	"strings"

	"mailproxy/internal/facts"
	"mailproxy/internal/text"
)

// subjectFields are the parts of a subject, by object identifier, in couriertls's spelling.
var subjectFields = []struct{ oid, name string }{
	{"2.5.4.3", "CN"}, {"2.5.4.4", "SN"}, {"2.5.4.5", "SERIALNUMBER"}, {"2.5.4.6", "C"}, {"2.5.4.7", "L"},
	{"2.5.4.8", "ST"}, {"2.5.4.9", "STREET"}, {"2.5.4.10", "O"}, {"2.5.4.11", "OU"}, {"2.5.4.12", "TITLE"},
	{"2.5.4.42", "GIVENNAME"}, {"2.5.4.46", "DNQUALIFIER"}, {"0.9.2342.19200300.100.1.1", "UID"},
	{"0.9.2342.19200300.100.1.25", "DC"}, {"1.2.840.113549.1.9.1", "EMAILADDRESS"},
}

// Facts are the protocol, the fields of the subject of the client's verified certificate, and the first
// e-mail address among its alternative names.
func Facts(state *tls.ConnectionState) facts.TLS {
	told := facts.Over(protocolName(state))
	if len(state.VerifiedChains) == 0 {
		return told
	}
	leaf := state.PeerCertificates[0]
	for _, atv := range leaf.Subject.Names {
		if name := fieldName(atv); name != "" {
			value, _ := atv.Value.(string) // another type: none
			told = told.With(name, value)
		}
	}
	return told.With(facts.AltName, firstMail(leaf))
}

func fieldName(atv pkix.AttributeTypeAndValue) string {
	oid := atv.Type.String()
	for _, f := range subjectFields {
		if f.oid == oid {
			return f.name
		}
	}
	return ""
}

func firstMail(leaf *x509.Certificate) string {
	if i := slices.IndexFunc(leaf.EmailAddresses,
		func(m string) bool { return m != "" && text.PlainName(m) }); i >= 0 {
		return leaf.EmailAddresses[i]
	}
	return ""
}

// protocolName is "TLS1.3,256bits,ECDHE_RSA_AES_256_GCM_SHA384", as couriertls says it: version, key size,
// suite. The key exchange of TLS 1.3 is not part of the suite; couriertls names it, a log reader hardly
// needs it.
func protocolName(state *tls.ConnectionState) string {
	suite := strings.TrimPrefix(tls.CipherSuiteName(state.CipherSuite), "TLS_")
	bits := 128
	switch {
	case strings.Contains(suite, "AES_256"), strings.Contains(suite, "CHACHA20"):
		bits = 256
	case strings.Contains(suite, "3DES"):
		bits = 168
	}
	return fmt.Sprintf("%s,%dbits,%s", strings.ReplaceAll(tls.VersionName(state.Version), " ", ""), bits,
		strings.Replace(suite, "_WITH_", "_", 1))
}
