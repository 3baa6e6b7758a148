// Package facts holds what others have told about a client's TLS connection: our own handshake, couriertls in
// front of us, or a balancer's PROXY header. Such data originates from strangers, so it is bounded, has no
// control characters, is never a setting, and reaches the local server's environment only under the names
// below.
package facts

import (
	"maps"
	"strings"

	"mailproxy/internal/text"
)

// The environment variables, as couriertls sets them.
const (
	// protocolVariable is set exactly when the client's connection is encrypted.
	protocolVariable = "TLS_CONNECTED_PROTOCOL"
	// subjectPrefix begins the names for the fields of the subject of the client's verified certificate:
	// TLS_SUBJECT_CN.
	subjectPrefix = "TLS_SUBJECT_"
	// AltName is in place of a field for the certificate's first e-mail address among its alternative names.
	// couriertls does not have it.
	AltName = "SUBJECTALTNAME"
)

// The limits: bytes of a value and of a field's name, and fields.
const (
	maxValue  = 1024
	maxName   = 32
	maxFields = 32
)

// unknownProtocol is the protocol of a connection that is encrypted in a way that nobody has told.
const unknownProtocol = "TLS"

// TLS holds the facts about the TLS of a connection. The zero value means that it is not encrypted. A TLS is
// not modified: With returns a new one.
type TLS struct {
	protocol string
	subject  map[string]string // by the field's name in upper case
}

// Over returns the facts of an encrypted connection without a client's certificate. Protocol says how it is
// encrypted, in the words of the program that told; what cannot be a fact is replaced by "TLS".
func Over(protocol string) TLS {
	if protocol == "" || !isValue(protocol) {
		protocol = unknownProtocol
	}
	return TLS{protocol: protocol}
}

// With returns t with a field of the subject of the client's certificate. If a field occurs several times the
// last one counts; if its value is not allowed, there is no such field. Names are those of couriertls: CN, O,
// EMAILADDRESS.
func (t TLS) With(field, value string) TLS {
	field = strings.ToUpper(field)
	if t.protocol == "" || !isField(field) {
		return t
	}
	t.subject = maps.Clone(t.subject)
	if t.subject == nil {
		t.subject = map[string]string{}
	}
	delete(t.subject, field)
	if value != "" && isValue(value) && len(t.subject) < maxFields {
		t.subject[field] = value
	}
	return t
}

// Encrypted says whether somebody has told that the connection is encrypted.
func (t TLS) Encrypted() bool { return t.protocol != "" }

// Protocol says how the connection is encrypted; "" where nobody has told that it is.
func (t TLS) Protocol() string { return t.protocol }

// External is the login name that the client's certificate proves, "" for none. Field, the setting
// TLS_EXTERNAL, names a field of the subject in any case; "emailaddress" also finds the e-mail address among
// the alternative names, where certificates made since RFC 3280 have it, and "subjectaltname" looks only
// there.
func (t TLS) External(field string) string {
	field = strings.ToUpper(strings.TrimSpace(field))
	value := t.subject[field]
	if value == "" && (field == "EMAILADDRESS" || field == "EMAIL") {
		value = t.subject[AltName]
	}
	return value
}

// Variables are the facts as environment variables for the local server.
func (t TLS) Variables() map[string]string {
	variables := map[string]string{}
	if t.protocol == "" {
		return variables
	}
	variables[protocolVariable] = t.protocol
	for field, value := range t.subject {
		variables[subjectPrefix+field] = value
	}
	return variables
}

// Extract returns the facts that a launcher has put into our environment, as couriertls does, and takes them
// out of settings.
func Extract(settings map[string]string) TLS {
	var t TLS
	if protocol := settings[protocolVariable]; protocol != "" {
		t = Over(protocol)
	}
	for name, value := range settings {
		if field, ok := strings.CutPrefix(name, subjectPrefix); ok {
			t = t.With(field, value)
			delete(settings, name)
		}
	}
	delete(settings, protocolVariable)
	return t
}

func isValue(value string) bool { return len(value) <= maxValue && text.PlainName(value) }

// isField says whether a name can be a field's: what an environment variable's name may hold.
func isField(name string) bool {
	return name != "" && len(name) <= maxName &&
		strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") == ""
}
