package tlsconf

import "strings"

const (
	// ConnectedVariable is set, by couriertls and by Variables, exactly when the client's connection is encrypted.
	ConnectedVariable = "TLS_CONNECTED_PROTOCOL"
	// SubjectPrefix begins the names of the variables for the fields of the subject of the client's certificate.
	SubjectPrefix = "TLS_SUBJECT_"
	// AltNameVariable is the certificate's first e-mail address among its alternative names. couriertls does not have it.
	AltNameVariable = SubjectPrefix + "SUBJECTALTNAME"
)

// ClearVariables removes from settings what Variables would set: before a handshake nothing of the kind is believed.
func ClearVariables(settings map[string]string) {
	for name := range settings {
		if name == ConnectedVariable || strings.HasPrefix(name, SubjectPrefix) {
			delete(settings, name)
		}
	}
}

// External is the login name that TLS_EXTERNAL finds in the TLS_SUBJECT_* variables, "" for none. TLS_EXTERNAL names a
// field of the subject in any case; "emailaddress" also finds the e-mail address among the alternative names, where certificates
// made since RFC 3280 have it, and "subjectaltname" looks only there.
func External(settings map[string]string) string {
	field := strings.ToUpper(strings.TrimSpace(settings["TLS_EXTERNAL"]))
	if field == "" {
		return ""
	}
	value := settings[SubjectPrefix+field]
	if value == "" && (field == "EMAILADDRESS" || field == "EMAIL") {
		value = settings[AltNameVariable]
	}
	if !IsClean(value) {
		return ""
	}
	return value
}

// IsClean tells whether a fact has no control characters, so that it can stand in environments, logs and user names.
func IsClean(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < 0x20 || r == 0x7f })
}
