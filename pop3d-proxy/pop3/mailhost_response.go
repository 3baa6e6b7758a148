package pop3

import (
	"strings"
)

// The limits on what a mailhost may say while we log in to it.
const (
	// maxResponse bytes of a line are kept, the rest is read and dropped. RFC 2449 section 4 allows 510.
	maxResponse = 8192
	// maxEmpty lines in front of the greeting are forgiven.
	maxEmpty = 4
	// maxCapabilities bounds the lines of a list.
	maxCapabilities = 200
)

// status is what a response line says.
type status int

const (
	statusOther status = iota // not a POP3 response
	statusOK                  // +OK
	statusErr                 // -ERR
	statusMore                // + and any text: a SASL challenge (RFC 5034 section 4)
)

// response is one line of a mailhost's.
type response struct {
	status status
	// code is the response code of a -ERR, in upper case without its brackets (RFC 2449 section 8); empty if
	// it has none.
	code string
	// text is the line.
	text string
}

// parseResponse takes a response line apart. RFC 1939 section 3 has the status in upper case, followed by a
// blank or the end; any case, and anything that cannot be a part of the word after it, is understood as
// well. The code is in brackets at the beginning of the text.
func parseResponse(text string) response {
	r := response{text: text}
	n := strings.IndexFunc(text, func(r rune) bool {
		return r != '+' && r != '-' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') &&
			r < 0x80
	})
	if n < 0 {
		n = len(text)
	}
	switch strings.ToUpper(text[:n]) {
	case "+OK":
		r.status = statusOK
	case "+":
		r.status = statusMore
	case "-ERR":
		r.status = statusErr
		rest := strings.TrimLeft(text[n:], " \t,:")
		if inner, ok := strings.CutPrefix(rest, "["); ok {
			if code, _, ok := strings.Cut(inner, "]"); ok {
				r.code = strings.ToUpper(code)
			}
		}
	}
	return r
}
