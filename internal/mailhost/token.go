package mailhost

import (
	"encoding/base64"
	"strings"
)

// shownPart is the shortest part of a token in bytes that is taken out of a mailhost's words. Half a token is
// no less of a secret, and where in the client's message it is, nobody here knows.
const shownPart = 8

// redactToken takes whatever may be a part of a token out of a mailhost's words: all that is in the client's
// message, as it is or in base64.
func redactToken(text, message string) string {
	forms := []string{message, base64.StdEncoding.EncodeToString([]byte(message))}
	for word := range strings.FieldsFuncSeq(message, func(r rune) bool { return r <= ' ' }) {
		forms = append(forms, base64.StdEncoding.EncodeToString([]byte(word)))
		if len(word) < shownPart && strings.Contains(message, " "+word) { // as in "Bearer TOKEN"
			text = strings.ReplaceAll(text, word, "***")
		}
	}
	parts := map[string]bool{}
	for _, form := range forms {
		for i := range max(0, len(form)-shownPart+1) {
			parts[form[i:i+shownPart]] = true
		}
	}
	var shown strings.Builder
	for begin := 0; begin < len(text); {
		end := begin // of what is taken out
		for i := begin; i <= max(end-1, begin) && i+shownPart <= len(text); i++ {
			if parts[text[i:i+shownPart]] {
				end = i + shownPart
			}
		}
		if end > begin {
			shown.WriteString("***")
			begin = end
			continue
		}
		shown.WriteByte(text[begin])
		begin++
	}
	return shown.String()
}
