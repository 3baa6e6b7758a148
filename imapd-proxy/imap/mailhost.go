package imap

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"

	"mailproxy/authlib/sasl"
	"mailproxy/internal/line"
	"mailproxy/internal/login"
	"mailproxy/internal/mailhost"
)

// upstream is our dialogue with a mailhost, as its client.
type upstream struct {
	m  *mailhost.Conn
	in responses
	// capabilities is what the mailhost has said it can do, on this connection as it is; empty = it did not
	// say.
	capabilities string
	// learned is the last list that came with an answer to our commands.
	learned string
	// final is the mailhost's tagged response to the login.
	final string
	// said is what the mailhost has to say to the client, from the login command on.
	said kept
	// proxy: the mailhost has greeted us as a proxy of our own kind.
	proxy bool
	// step is where we are, for errors.
	step mailhost.Step
}

// loginAtMailhost logs in to an IMAP mailhost: greeting, TLS and the client's address as far as they are
// asked for, LOGIN (or AUTHENTICATE PLAIN on behalf of the user), and IMAP_PROXY_FOREIGN. It reads nothing
// behind the final answer.
func loginAtMailhost(ctx context.Context, m *mailhost.Conn) error {
	u := &upstream{m: m, step: mailhost.StepGreeting, in: responses{line.NewReader(m.Conn)}}
	defer func() { u.in.in.Clear() }() // a mailhost may repeat what it was told
	steps := []func(context.Context) error{u.greeting, u.startTLS, u.ask, u.forwardClient, u.login, u.follow}
	for _, step := range steps {
		err := step(ctx)
		_, rejected := errors.AsType[*login.RejectedError](err)
		_, hungUp := errors.AsType[*mailhost.HungUpError](err)
		_, named := errors.AsType[*mailhost.StepError](err)
		switch {
		case err == nil:
			continue
		case rejected, hungUp, named:
			return err
		}
		return &mailhost.StepError{Step: u.step, Err: err}
	}
	return nil
}

// greeting waits for "* OK". A PREAUTH greeting (RFC 3501 section 7.1.4) means that the mailhost takes every
// connection for somebody who need not log in: nobody's mail is shown on such a basis, and it would let
// STARTTLS be skipped.
func (u *upstream) greeting(context.Context) error {
	r, err := u.in.next()
	for empty := 0; err == nil && r.text == "" && empty < maxEmpty; empty++ {
		r, err = u.in.next()
	}
	if err != nil {
		return err
	}
	if r.tag != "*" || r.status != "OK" {
		return fmt.Errorf("mailhost said %q", u.brief(r.text))
	}
	u.capabilities, _ = r.capabilities()
	u.proxy = strings.HasSuffix(r.text, " "+textReady)
	return nil
}

// startTLS is asked for by PROXY_TLS=STARTTLS. Whatever was said before the handshake may be an attacker's.
func (u *upstream) startTLS(ctx context.Context) error {
	if u.m.StartTLS == nil {
		return nil
	}
	u.step = mailhost.StepTLS
	const tag = "S1"
	if err := u.send(tag + " STARTTLS" + crlf); err != nil {
		return err
	}
	r, err := u.tagged(tag)
	if err != nil {
		return err
	}
	if r.status != "OK" {
		return fmt.Errorf("mailhost refuses STARTTLS: %q", u.brief(r.text))
	}
	if u.in.in.Pending() {
		return errors.New("mailhost sent clear text behind its answer to STARTTLS")
	}
	if err := u.m.StartTLS(ctx); err != nil {
		return err
	}
	u.capabilities, u.learned = "", ""
	u.in = responses{line.NewReader(u.m.Conn)}
	return nil
}

// ask asks a mailhost for its capabilities when it has not told them along with its greeting or the handshake
// has made that void: how it takes a password is known before one is sent. A mailhost that does not
// understand the question is old and takes LOGIN.
func (u *upstream) ask(context.Context) error {
	if u.capabilities != "" {
		return nil
	}
	u.step = mailhost.StepFollow
	const tag = "C0"
	if err := u.send(tag + " CAPABILITY" + crlf); err != nil {
		return err
	}
	r, err := u.tagged(tag)
	if err == nil && r.status == "OK" {
		u.capabilities = u.learned
	}
	return err
}

// method decides by which command the user's name and password go. Where the mailhost takes neither on this
// connection the error says why, and which setting helps.
func (u *upstream) method() (send func() (response, error), err error) {
	list := u.capabilities
	switch {
	case u.m.Authzid != "":
		return u.sendPlain, nil
	case !hasCapability(list, "LOGINDISABLED"):
		return u.sendLogin, nil
	case !u.m.TLS && hasCapability(list, "STARTTLS"): // whatever AUTH= says
		return nil, errors.New("mailhost takes no password before STARTTLS (LOGINDISABLED): " +
			"PROXY_TLS=STARTTLS encrypts the connection")
	case hasCapability(list, "AUTH=PLAIN"):
		return u.sendPlain, nil
	case !u.m.TLS:
		return nil, errors.New("mailhost takes neither LOGIN (LOGINDISABLED) nor AUTH=PLAIN on this connection, " +
			"which PROXY_TLS does not encrypt")
	}
	return nil, errors.New("mailhost takes neither LOGIN (LOGINDISABLED) nor AUTH=PLAIN")
}

// login sends the user's name and password in the way that the mailhost takes them (RFC 3501 section 6.2.3).
func (u *upstream) login(ctx context.Context) error {
	u.step = mailhost.StepLogin
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
	u.said = kept{limit: maxKept}
	u.in.in.Tee(u.said.see)
	r, err := send()
	u.in.in.Tee(nil)
	if err != nil {
		return err
	}
	u.said.end(false) // the tagged response is for us
	u.final = r.text
	if r.status != "OK" {
		return &login.RejectedError{Step: u.step, Answer: r.answer(u.brief(r.text))}
	}
	if list, ok := r.capabilities(); ok {
		u.learned = list
		u.warnOfMissing()
	}
	if u.said.dropped {
		u.m.Log.Warnf("%s (%s) said more than %d bytes along with the login: not all of it reaches the client",
			u.m.Host, u.m.Addr, maxKept)
	}
	if u.m.Authzid != "" && u.m.Redact(string(u.said.bytes)) != string(u.said.bytes) {
		u.said.bytes = nil // the master user's password is nobody else's
	}
	if r.code != "" && !r.isCapabilityCode() {
		u.said.bytes = append(u.said.bytes, u.m.Redact("* OK ["+r.code+"] "+r.human)+crlf...)
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
		text += fmt.Sprintf(" {%d%s}", len(arg), plus) + crlf
		if plus == "" {
			if err := u.send(text); err != nil {
				return response{}, err
			}
			text = ""
			if r, err := u.until(u.m.Tag, true); err != nil || r.tag != "+" {
				return r, err
			}
		}
		text += arg
	}
	if err := u.send(text + crlf); err != nil {
		return response{}, err
	}
	return u.tagged(u.m.Tag)
}

// sendPlain says AUTHENTICATE PLAIN, with the user's own name and password or with those of PROXY_MASTER_USER
// on his behalf, and returns the tagged answer.
func (u *upstream) sendPlain() (response, error) {
	plain, err := sasl.PlainResponse(u.m.Authzid, u.m.User, u.m.Password)
	if err != nil {
		return response{}, err
	}
	encoded := base64.StdEncoding.EncodeToString(plain)
	clear(plain)
	if hasCapability(u.capabilities, "SASL-IR") && hasCapability(u.capabilities, "AUTH=PLAIN") {
		if err := u.send(u.m.Tag + " AUTHENTICATE PLAIN " + encoded + crlf); err != nil {
			return response{}, err
		}
		return u.tagged(u.m.Tag)
	}
	if err := u.send(u.m.Tag + " AUTHENTICATE PLAIN" + crlf); err != nil {
		return response{}, err
	}
	switch r, err := u.until(u.m.Tag, true); {
	case err != nil:
		return response{}, err
	case r.tag == "+":
	case r.status == "NO" && r.code != "" && !strings.EqualFold(r.code, "AUTHENTICATIONFAILED"):
		return r, nil
	default: // it has not seen the password and cannot have refused it
		return response{}, fmt.Errorf("mailhost does not take AUTHENTICATE PLAIN: %q", u.brief(r.text))
	}
	if err := u.send(encoded + crlf); err != nil {
		return response{}, err
	}
	return u.tagged(u.m.Tag)
}

// tagged reads responses up to the tagged one.
func (u *upstream) tagged(tag string) (response, error) { return u.until(tag, false) }

// until reads responses up to the tagged one or, if a continuation is expected, up to that. A capability list
// on the way is remembered. Lines that mean nothing are skipped, as Courier does.
func (u *upstream) until(tag string, continuation bool) (response, error) {
	bye := ""
	for {
		r, err := u.in.next()
		if r.tag != tag {
			u.said.end(err == nil && r.forClient())
		}
		switch {
		case err != nil && bye != "" && errors.Is(err, io.EOF):
			return response{}, fmt.Errorf("%w: %q", errBye, u.brief(bye))
		case err != nil:
			return response{}, err
		case r.tag == tag && (r.status == "OK" || r.status == "NO" || r.status == "BAD"):
			return r, nil
		case r.tag == tag:
			return response{}, fmt.Errorf("mailhost said %q", u.brief(r.text))
		case r.tag == "+" && continuation:
			return r, nil
		case r.tag == "+":
			return response{}, fmt.Errorf("mailhost asks for more: %q", u.brief(r.text))
		case r.tag == "*" && r.status == "BYE":
			bye = r.text
		case r.tag == "*":
			if list, ok := r.capabilities(); ok {
				u.learned = list
			}
		}
	}
}

// brief is what the log may have of a mailhost's words: not all of them, and never the password.
func (u *upstream) brief(text string) string { return brief(u.m.Redact(text)) }

func (u *upstream) send(text string) error {
	return u.m.Send([]byte(text))
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
