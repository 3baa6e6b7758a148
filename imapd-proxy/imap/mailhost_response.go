package imap

import (
	"errors"
	"strings"

	"mailproxy/internal/line"
	"mailproxy/internal/login"
)

// The limits on what a mailhost may say while we log in to it, in bytes.
const (
	// maxResponse is how much of a line is kept; the rest of it is read and dropped.
	maxResponse = 8192
	// maxChatter bounds all lines and literals together; the login's time limit bounds them too.
	maxChatter = 16 << 20
	// maxUntagged bounds what a mailhost says between the login command and its OK and the client is shown;
	// maxAnswer what it says between that OK and its answer to CAPABILITY. Neither takes anything from the
	// mailhost's session after it.
	maxUntagged = 16 << 10
	maxAnswer   = 64 << 10
	// maxEmpty lines in front of the greeting are forgiven.
	maxEmpty = 4
)

// response is one line of a mailhost (RFC 3501 section 7), without its end.
type response struct {
	// tag is "*" for untagged data, "+" for a continuation request, else a tag, or whatever stands in a tag's
	// place.
	tag string
	// status is OK, NO, BAD, PREAUTH or BYE in upper case, or else the line's second word as it is.
	status string
	// code is a response code without its brackets, "CAPABILITY IMAP4rev1" for example.
	code string
	// human is what follows the status and the code of a status response.
	human string
	// text is the whole line, as far as it was kept.
	text string
}

// parseResponse parses a line. It accepts every line: one that makes no sense has no status.
func parseResponse(text string) response {
	r := response{text: text}
	var rest string
	r.tag, rest, _ = strings.Cut(text, " ")
	r.status, rest, _ = strings.Cut(rest, " ")
	if s := strings.ToUpper(r.status); s == "OK" || s == "NO" || s == "BAD" || s == "PREAUTH" || s == "BYE" {
		r.status, r.human = s, rest
		if inner, found := strings.CutPrefix(rest, "["); found {
			if code, human, found := strings.Cut(inner, "]"); found {
				r.code, r.human = code, strings.TrimPrefix(human, " ")
			}
		}
	}
	return r
}

// capabilities returns the capability list in a response, from a code or an untagged CAPABILITY; ok is false
// if there is none, or if it contains bytes that are not allowed there.
func (r response) capabilities() (list string, ok bool) {
	from := r.code
	if r.tag == "*" && strings.EqualFold(r.status, "CAPABILITY") {
		from = strings.TrimPrefix(r.text, r.tag+" ")
	}
	word, list, _ := strings.Cut(from, " ")
	if !strings.EqualFold(word, "CAPABILITY") || len(r.text) >= maxResponse {
		return "", false
	}
	if !printable(list) || strings.Contains(list, "]") {
		return "", false
	}
	list = strings.Join(strings.Fields(list), " ")
	return list, list != ""
}

// answer is a tagged response to a login that is not OK, for the table in package login.
func (r response) answer(shown string) login.Answer {
	kind := login.No
	if r.status != "NO" {
		kind = login.Undecided
	}
	return login.Answer{Kind: kind, Code: r.code, Text: shown, Human: r.human}
}

// hasCapability says whether a capability list holds a name.
func hasCapability(list, name string) bool {
	for word := range strings.FieldsSeq(list) {
		if strings.EqualFold(word, name) {
			return true
		}
	}
	return false
}

var (
	errChatter = errors.New("mailhost talks without end")
	errBye     = errors.New("mailhost said goodbye")
)

// responses reads a mailhost's lines and nothing after them.
type responses struct {
	in *line.Reader
}

// next reads one response. A literal inside it is read and dropped with the rest of its line: the parts of a
// login dialogue that matter have none, and nothing in a literal may pass for a response.
func (rs *responses) next() (response, error) {
	first := ""
	for part := 0; ; part++ {
		if rs.in.Count() > maxChatter {
			return response{}, errChatter
		}
		text, err := rs.in.ReadLine(maxResponse)
		if err != nil && !errors.Is(err, line.ErrTooLong) {
			return response{}, err
		}
		if part == 0 {
			first = string(text)
		}
		size, _, _, ok := literalAtEnd(text)
		if err != nil || !ok || !strings.HasPrefix(first, "* ") || isStatus(first) {
			return parseResponse(first), nil
		}
		if err := rs.skip(size); err != nil {
			return response{}, err
		}
	}
}

// isStatus says whether an untagged response is human text, where "{5}" at the end announces nothing.
func isStatus(text string) bool {
	switch parseResponse(text).status {
	case "OK", "NO", "BAD", "PREAUTH", "BYE":
		return true
	}
	return false
}

func (rs *responses) skip(n int64) error {
	if n > maxChatter {
		return errChatter
	}
	for buf := make([]byte, 4096); n > 0; {
		part := buf[:min(n, int64(len(buf)))]
		if err := rs.in.ReadFull(part); err != nil {
			return err
		}
		n -= int64(len(part))
	}
	return nil
}
