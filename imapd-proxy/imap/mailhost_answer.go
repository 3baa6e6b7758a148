package imap

import (
	"bytes"
	"context"
	"fmt"
	"strings"

	"mailproxy/internal/config"
	"mailproxy/internal/mailhost"
)

// follow puts together what the client reads as the answer to its login: what the mailhost had to say to it,
// its capabilities if IMAP_PROXY_FOREIGN wants them, and the tagged OK. What the mailhost says from now on is
// never lost, reordered or rewritten.
func (u *upstream) follow(context.Context) error {
	u.Step = mailhost.StepFollow
	u.m.Answer = u.untagged.bytes
	if u.m.Local { // nothing of its capabilities is foreign, and its words are the local server's
		u.m.Answer = append(u.m.Answer, u.final+crlf...)
		return nil
	}
	code := ""
	switch u.m.Config.IMAP.Foreign {
	case config.ForeignAnswer:
		if told, err := u.passAnswer(); err != nil || told {
			return err
		}
	case config.ForeignCode:
		if u.learned == "" {
			if err := u.askAgain(); err != nil {
				return err
			}
		}
		if u.learned != "" {
			code = "[CAPABILITY " + u.learned + "] "
		}
	}
	u.m.Answer = append(u.m.Answer, u.m.Tag+" OK "+code+textProxied+crlf...)
	return nil
}

// warnOfMissing says in the log which capabilities clients were promised that this mailhost does not have,
// when it has told its list along with the login and IMAP_PROXY_FOREIGN does not pass that list on. With
// DEBUG_LOGIN only: one line a login is for finding out, not for every day. What concerns the time before the
// login has ended with it.
func (u *upstream) warnOfMissing() {
	c := u.m.Config
	if u.learned == "" || c.Debug == 0 || c.IMAP.Foreign != config.ForeignHidden {
		return
	}
	var missing []string
	for word := range strings.FieldsSeq(u.m.Offered) {
		if !beforeLogin(word) && !hasCapability(u.learned, word) {
			missing = append(missing, word)
		}
	}
	if len(missing) > 0 {
		u.m.Log.Warnf("%s (%s) does not have what clients are promised: %s",
			u.m.Host, u.m.Addr, strings.Join(missing, " "))
	}
}

// beforeLogin says whether a capability only concerns the time before a login.
func beforeLogin(word string) bool {
	switch upper := strings.ToUpper(word); upper {
	case "SASL-IR", "STARTTLS", "LOGINDISABLED", "LOGIN-REFERRALS", "ID":
		return true
	default:
		return strings.HasPrefix(upper, "AUTH=")
	}
}

// passAnswer has the mailhost answer the client's login by its answer to CAPABILITY. It is passed on as it
// is; told says that the tagged answer is among it, or still to come. A mailhost that refuses has let the
// client in all the same.
func (u *upstream) passAnswer() (told bool, err error) {
	if err := u.send(u.m.Tag + " CAPABILITY"); err != nil {
		return false, err
	}
	for {
		begin := len(u.m.Answer)
		r, whole, err := u.copyResponse()
		switch {
		case err != nil:
			return false, err
		case !whole:
			return true, nil // the session passes the rest on
		case r.tag == u.m.Tag && r.status != "OK":
			u.m.Answer = u.m.Answer[:begin]
			return false, nil
		case r.tag == u.m.Tag:
			return true, nil
		case r.tag != "*":
			return false, fmt.Errorf("mailhost answers CAPABILITY with %q", u.m.Shown(r.text))
		}
	}
}

// askAgain learns the mailhost's list after the login. What else the mailhost says meanwhile is the client's,
// in order.
func (u *upstream) askAgain() error {
	const tag = "C1"
	if err := u.send(tag + " CAPABILITY"); err != nil {
		return err
	}
	for {
		begin := len(u.m.Answer)
		r, whole, err := u.copyResponse()
		switch {
		case err != nil:
			return err
		case !whole:
			return errChatter
		case r.tag == tag:
			u.m.Answer = u.m.Answer[:begin]
			return nil
		case r.tag != "*":
			return fmt.Errorf("mailhost answers CAPABILITY with %q", u.m.Shown(r.text))
		}
		if list, ok := r.capabilities(); ok {
			u.learned = list
		}
		if strings.EqualFold(r.status, "CAPABILITY") {
			u.m.Answer = u.m.Answer[:begin]
		}
	}
}

// copyResponse adds the next response to the client's answer, byte for byte, and says what it is. When the
// answer has become maxAnswer bytes long it stops, wherever that is: whole is false, and the rest is still in
// the connection.
func (u *upstream) copyResponse() (r response, whole bool, err error) {
	var first, text []byte // the first line as far as it is kept, and the one under way
	for part := 0; len(u.m.Answer) < maxAnswer; {
		p, err := u.in.in.ReadPart(maxAnswer - len(u.m.Answer))
		if err != nil {
			return response{}, false, err
		}
		u.m.Answer = append(u.m.Answer, p...)
		text = append(text, p[:min(len(p), maxResponse-len(text))]...)
		if p[len(p)-1] != '\n' {
			continue
		}
		text = bytes.TrimRight(text, crlf)
		if part == 0 {
			first = text
		}
		size, _, _, literal := literalAtEnd(text)
		if !literal || !bytes.HasPrefix(first, []byte("* ")) || isStatus(string(first)) {
			return parseResponse(string(first)), true, nil
		}
		if size > int64(maxAnswer-len(u.m.Answer)) {
			return response{}, false, nil
		}
		at := len(u.m.Answer)
		u.m.Answer = append(u.m.Answer, make([]byte, size)...)
		if err := u.in.in.ReadFull(u.m.Answer[at:]); err != nil {
			return response{}, false, err
		}
		text, part = nil, part+1
	}
	return response{}, false, nil
}
