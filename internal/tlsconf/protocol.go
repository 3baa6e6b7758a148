package tlsconf

import (
	"crypto/tls"
	"strings"
)

// protocolVersions maps the names of TLS_PROTOCOL, in upper case and without "V", "_" and trailing "+", to
// the lowest version that is spoken. SSL2 and SSL3 do not exist in crypto/tls and SSL23 only ever meant
// "whatever there is".
var protocolVersions = map[string]uint16{
	"SSL23": tls.VersionTLS12,
	"TLS":   tls.VersionTLS12,
	"TLS1":  tls.VersionTLS10, "TLS1.0": tls.VersionTLS10,
	"TLS1.1": tls.VersionTLS11, "TLS11": tls.VersionTLS11,
	"TLS1.2": tls.VersionTLS12, "TLS12": tls.VersionTLS12,
	"TLS1.3": tls.VersionTLS13, "TLS13": tls.VersionTLS13,
}

// minVersion is the lowest protocol version to speak with clients: what TLS_STARTTLS_PROTOCOL or
// TLS_PROTOCOL names, TLS 1.2 when nothing or nothing known is named (RFC 8996). Of a list of names the
// lowest counts.
func (o *Options) minVersion() uint16 {
	name, value := "TLS_PROTOCOL", o.TLS.Protocol
	if o.StartTLS && o.TLS.StartTLSProtocol != "" {
		name, value = "TLS_STARTTLS_PROTOCOL", o.TLS.StartTLSProtocol
	}
	if p := o.TLS.Priority; p != "" && !strings.EqualFold(p, "NORMAL") {
		o.warn("TLS_PRIORITY is a setting of GnuTLS and is ignored: use TLS_PROTOCOL and TLS_CIPHER_LIST")
	}
	version, unknown := parseProtocol(value)
	if len(unknown) > 0 {
		o.warn("%s: no such protocol version: %q", name, strings.Join(unknown, " "))
	}
	return version
}

// parseProtocol returns the lowest version that value names, tls.VersionTLS12 if it names none, and the
// names it does not know.
func parseProtocol(value string) (version uint16, unknown []string) {
	for _, word := range strings.FieldsFunc(value, isListSeparator) {
		key := strings.ToUpper(strings.TrimRight(word, "+"))
		key = strings.ReplaceAll(strings.Replace(key, "V", "", 1), "_", ".")
		v, ok := protocolVersions[key]
		switch {
		case !ok:
			unknown = append(unknown, word)
		case version == 0 || v < version:
			version = v
		}
	}
	if version == 0 {
		version = tls.VersionTLS12
	}
	return version, unknown
}
