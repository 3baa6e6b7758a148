package mailhost

import (
	"encoding/base64"
	"regexp"
	"strings"
)

// shortWord is the length in bytes of the longest word of a mailhost's that is shown in a login with a token.
const shortWord = 15

// redactToken takes a token out of a mailhost's words, and whatever may be a part of one: what the token is
// within the client's message is not known, and half of it may have been repeated. A token is of the alphabet
// of RFC 6750 section 2.1, which base64's is a part of.
func redactToken(text, message string) string {
	for _, form := range append([]string{
		base64.StdEncoding.EncodeToString([]byte(message)), message,
	}, strings.FieldsFunc(message, isOutsideToken)...) {
		if len(form) > shortWord || strings.HasSuffix(message, " "+form+"\x01\x01") {
			text = strings.ReplaceAll(text, form, "***")
		}
	}
	return regexp.MustCompile(`[A-Za-z0-9+/=_.~-]{16,}`).ReplaceAllString(text, "***")
}

// isOutsideToken says whether a character separates the words of a message.
func isOutsideToken(r rune) bool { return r <= ' ' || r == 0x7f }
