package tlsconf

import "strings"

const (
	// ConnectedVariable is set, by couriertls and by Variables, exactly when the client's connection is
	// encrypted.
	ConnectedVariable = "TLS_CONNECTED_PROTOCOL"
	// SubjectPrefix begins the names of the variables for the fields of the subject of the client's
	// certificate.
	SubjectPrefix = "TLS_SUBJECT_"
	// AltNameVariable is the certificate's first e-mail address among its alternative names. couriertls does
	// not have it.
	AltNameVariable = SubjectPrefix + "SUBJECTALTNAME"
)

// ClearVariables removes from settings what Variables would set: before a handshake nothing of the kind is
// believed.
func ClearVariables(settings map[string]string) {
	for name := range settings {
		if name == ConnectedVariable || strings.HasPrefix(name, SubjectPrefix) {
			delete(settings, name)
		}
	}
}

// External is the login name that a field of the certificate's subject (TLS_EXTERNAL) has among the
// TLS_SUBJECT_* variables, "" for none. The field is written in any case; "emailaddress" also finds the
// e-mail address among the alternative names, where certificates made since RFC 3280 have it, and
// "subjectaltname" looks only there.
func External(field string, variables map[string]string) string {
	if field == "" {
		return ""
	}
	field = strings.ToUpper(field)
	value := variables[SubjectPrefix+field]
	if value == "" && (field == "EMAILADDRESS" || field == "EMAIL") {
		value = variables[AltNameVariable]
	}
	if !IsClean(value) {
		return ""
	}
	return value
}

// IsClean tells whether a fact has no control characters, so that it can stand in environments, logs and user
// names.
func IsClean(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < 0x20 || r == 0x7f })
}
