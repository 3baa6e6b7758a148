package mailhost

import (
	"encoding/base64"
	"strconv"
	"strings"

	"mailproxy/internal/text"
)

// Shown is what the log may have of a mailhost's words: not all of them, and never our password.
func (m *Conn) Shown(words string) string { return text.Shorten(m.Redact(words)) }

// Redact takes our password out of a mailhost's words: some servers quote the command they did not like. It
// must be done before the words are shortened: otherwise half a password could stay in them.
func (m *Conn) Redact(words string) string {
	if m.Token != "" {
		return redactToken(words, m.Token)
	}
	if m.Password == "" {
		return words
	}
	for _, form := range m.secretForms() {
		words = strings.ReplaceAll(words, form, "***")
	}
	return words
}

// secretForms are the ways in which the password may come back, those that hold others first: as SASL PLAIN
// had it; quoted by us, by the mailhost, and by both; as it is.
func (m *Conn) secretForms() []string {
	forms := []string{
		base64.StdEncoding.EncodeToString([]byte(m.Authzid + "\x00" + m.User + "\x00" + m.Password)),
		base64.StdEncoding.EncodeToString([]byte(m.Password)),
	}
	once := strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(m.Password)
	for _, form := range []string{once, m.Password} {
		inner := strconv.Quote(form)
		forms = append(forms, inner[1:len(inner)-1])
	}
	return append(forms, once, m.Password)
}
