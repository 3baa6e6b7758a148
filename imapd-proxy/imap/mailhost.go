package imap

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"mailproxy/internal/line"
	"mailproxy/internal/mailhost"
)

// upstream is our dialogue with a mailhost, as its client.
type upstream struct {
	mailhost.Steps
	m  *mailhost.Conn
	in responses
	// greeted is the mailhost's greeting.
	greeted string
	// capabilities is what the mailhost has said it can do, on this connection as it is; empty = it did not
	// say.
	capabilities string
	// learned is the last list that came with an answer to our commands.
	learned string
	// final is the mailhost's tagged response to the login.
	final string
	// untagged is what the mailhost has to say to the client, from the login command on.
	untagged untagged
	// proxy: the mailhost has greeted us as a proxy of our own kind.
	proxy bool
	// challenge is why the mailhost refuses a token, in base64.
	challenge string
}

// loginAtMailhost logs in to an IMAP mailhost: greeting, TLS and the client's address as far as they are
// asked for, LOGIN (or AUTHENTICATE PLAIN on behalf of the user), and IMAP_PROXY_FOREIGN. It reads nothing
// after the final answer.
func loginAtMailhost(ctx context.Context, m *mailhost.Conn) error {
	u := newUpstream(m)
	defer u.in.in.Clear() // a mailhost may repeat what it was told
	return u.Run(ctx, u.greeting, u.startTLS, u.askCapability, u.forwardClient, u.login, u.follow)
}

func newUpstream(m *mailhost.Conn) *upstream {
	return &upstream{m: m, in: responses{line.NewReader(m.Conn)}}
}

// greeting waits for "* OK". A PREAUTH greeting (RFC 3501 section 7.1.4) means that the mailhost takes every
// connection for somebody who need not log in: nobody's mail is shown on such a basis, and it would let
// STARTTLS be skipped.
func (u *upstream) greeting(context.Context) error {
	u.Step = mailhost.StepGreeting
	r, err := u.in.next()
	for empty := 0; err == nil && r.text == "" && empty < maxEmpty; empty++ {
		r, err = u.in.next()
	}
	if err != nil {
		return err
	}
	u.greeted = r.text
	switch {
	case r.tag == "*" && r.status == "PREAUTH":
		return fmt.Errorf("mailhost said %q: everybody is logged in there already, so nobody can log in",
			u.m.Shown(r.text))
	case r.tag != "*" || r.status != "OK":
		return fmt.Errorf("mailhost said %q", u.m.Shown(r.text))
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
	u.Step = mailhost.StepTLS
	r, err := u.command("S1", "STARTTLS")
	if err != nil {
		return err
	}
	if r.status != "OK" {
		return fmt.Errorf("mailhost refuses STARTTLS: %q", u.m.Shown(r.text))
	}
	if u.in.in.Pending() {
		return errors.New("mailhost sent clear text after its answer to STARTTLS")
	}
	if err := u.m.StartTLS(ctx); err != nil {
		return err
	}
	u.capabilities, u.learned = "", ""
	u.in.in.Reset(u.m.Conn)
	return nil
}

// command sends a command of our own and reads responses up to the tagged one.
func (u *upstream) command(tag, text string) (response, error) {
	if err := u.send(tag + " " + text); err != nil {
		return response{}, err
	}
	return u.until(tag, false)
}

// exchange sends a line of the login command, and reads responses up to the tagged one or, if a continuation
// is expected, up to that.
func (u *upstream) exchange(text string, continuation bool) (response, error) {
	if err := u.send(text); err != nil {
		return response{}, err
	}
	return u.until(u.m.Tag, continuation)
}

// until reads responses up to the tagged one or, if a continuation is expected, up to that. A capability list
// on the way is remembered. Lines that mean nothing are skipped, as Courier does.
func (u *upstream) until(tag string, continuation bool) (response, error) {
	bye := ""
	for {
		r, err := u.in.next()
		if r.tag != tag {
			u.untagged.end(err == nil && r.forClient())
		}
		switch {
		case err != nil && bye != "" && errors.Is(err, io.EOF):
			return response{}, fmt.Errorf("%w: %q", errBye, u.m.Shown(bye))
		case err != nil:
			return response{}, err
		case r.tag == tag && (r.status == "OK" || r.status == "NO" || r.status == "BAD"):
			return r, nil
		case r.tag == tag:
			return response{}, fmt.Errorf("mailhost said %q", u.m.Shown(r.text))
		case r.tag == "+" && continuation:
			return r, nil
		case r.tag == "+":
			return response{}, fmt.Errorf("mailhost asks for more: %q", u.m.Shown(r.text))
		case r.tag == "*" && r.status == "BYE":
			bye = r.text
		case r.tag == "*":
			if list, ok := r.capabilities(); ok {
				u.learned = list
			}
		}
	}
}

func (u *upstream) send(text string) error {
	if err := u.inStep(); err != nil {
		return err
	}
	return u.m.Send([]byte(text + crlf))
}

// inStep reads what the mailhost has sent unasked, if its answer decides about the login: a response that
// came before the credentials were sent cannot be the answer to them, even with the right tag.
func (u *upstream) inStep() error {
	for u.final == "" && u.m.Decides() && u.in.in.Pending() {
		r, err := u.in.next()
		u.untagged.end(err == nil && r.forClient())
		switch {
		case err != nil:
			return err
		case r.tag == u.m.Tag:
			return fmt.Errorf("mailhost answers before it is asked: %q", u.m.Shown(r.text))
		case r.tag == "*" && r.status == "BYE":
			return fmt.Errorf("%w: %q", errBye, u.m.Shown(r.text))
		}
		if list, ok := r.capabilities(); ok && r.tag == "*" {
			u.learned = list
		}
	}
	return nil
}
