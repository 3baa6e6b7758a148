package imap

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"mailproxy/authlib/sasl"
	"mailproxy/internal/login"
	"mailproxy/internal/mailhost"
)

// login sends the user's name and password in the way that the mailhost takes them (RFC 3501 section 6.2.3).
func (u *upstream) login(ctx context.Context) error {
	u.Step = mailhost.StepLogin
	for _, s := range []string{u.m.User, u.m.Password, u.m.Authzid} {
		if strings.ContainsAny(s, "\r\n\x00") {
			return errors.New("name or password holds a line break or NUL and was not sent")
		}
	}
	send, err := u.method()
	if err != nil {
		return err
	}
	u.learned = ""
	u.untagged = untagged{limit: maxUntagged}
	u.in.in.Tee(u.untagged.see)
	r, err := send()
	u.in.in.Tee(nil)
	if err != nil {
		return err
	}
	u.untagged.end(false) // the tagged response is for us
	u.final = r.text
	if r.status != "OK" {
		answer := r.answer(u.m.Shown(r.text))
		answer.Challenge = u.challenge
		return &login.RejectedError{Step: u.Step, Answer: answer}
	}
	if list, ok := r.capabilities(); ok {
		u.learned = list
		u.warnOfMissing()
	}
	if u.untagged.dropped {
		u.m.Log.Warnf("%s (%s) said more than %d bytes along with the login: not all of it reaches the client",
			u.m.Host, u.m.Addr, maxUntagged)
	}
	if u.m.Authzid != "" && u.m.Redact(string(u.untagged.bytes)) != string(u.untagged.bytes) {
		u.untagged.bytes = nil // the master user's password is nobody else's
	}
	if r.code != "" && !r.isCapabilityCode() {
		u.untagged.bytes = append(u.untagged.bytes, u.m.Redact("* OK ["+r.code+"] "+r.human)+crlf...)
	}
	return nil
}

// sendLogin says LOGIN and returns the tagged answer, which may come early, instead of a literal's "+".
func (u *upstream) sendLogin() (response, error) {
	text := u.m.Tag + " LOGIN"
	for _, arg := range []string{u.m.User, u.m.Password} {
		if canQuote(arg) {
			text += " " + quote(arg)
			continue
		}
		plus := ""
		if hasCapability(u.capabilities, "LITERAL+") ||
			hasCapability(u.capabilities, "LITERAL-") && len(arg) <= 4096 {
			plus = "+" // RFC 7888
		}
		text += fmt.Sprintf(" {%d%s}", len(arg), plus)
		if plus == "" {
			r, err := u.exchange(text, true)
			switch {
			case err != nil:
				return response{}, err
			case r.tag == "+": // Courier's is "+ OK"
			case r.status != "OK":
				return u.unseen(r, "LOGIN with a literal")
			case u.m.Unverified: // it has not seen what it is to verify
				return response{}, errors.New("login accepted before the password was sent")
			default:
				return r, nil
			}
			text = arg
			continue
		}
		text += crlf + arg
	}
	return u.exchange(text, false)
}

// sendPlain says AUTHENTICATE PLAIN, with the user's own name and password or with those of PROXY_MASTER_USER
// on its behalf, and returns the tagged answer.
func (u *upstream) sendPlain() (response, error) {
	plain, err := sasl.PlainResponse(u.m.Authzid, u.m.User, u.m.Password)
	if err != nil {
		return response{}, err
	}
	encoded := base64.StdEncoding.EncodeToString(plain)
	clear(plain)
	if hasCapability(u.capabilities, "SASL-IR") && hasCapability(u.capabilities, "AUTH=PLAIN") {
		return u.exchange(u.m.Tag+" AUTHENTICATE PLAIN "+encoded, false)
	}
	r, err := u.exchange(u.m.Tag+" AUTHENTICATE PLAIN", true)
	switch {
	case err != nil:
		return response{}, err
	case r.tag != "+":
		return u.unseen(r, "AUTHENTICATE PLAIN")
	}
	return u.exchange(encoded, false)
}

// unseen judges the tagged answer to a command before the password was sent: the mailhost cannot have refused
// the password, so only another reason counts as an answer.
func (u *upstream) unseen(r response, command string) (response, error) {
	if r.status == "NO" && r.code != "" && !strings.EqualFold(r.code, "AUTHENTICATIONFAILED") {
		return r, nil
	}
	return response{}, fmt.Errorf("mailhost does not take %s: %q", command, u.m.Shown(r.text))
}

// canQuote says whether a string can be sent as a quoted string: short, printable ASCII. The rest goes as a
// literal.
func canQuote(s string) bool { return len(s) <= 1000 && printable(s) }

// printable says whether a string is printable ASCII.
func printable(s string) bool {
	for _, c := range []byte(s) {
		if c < ' ' || c >= 0x7f {
			return false
		}
	}
	return true
}

// quote makes a quoted string of one that canQuote.
func quote(s string) string {
	quoted := []byte{'"'}
	for _, c := range []byte(s) {
		if c == '\\' || c == '"' {
			quoted = append(quoted, '\\')
		}
		quoted = append(quoted, c)
	}
	return string(append(quoted, '"'))
}
