package imap

import (
	"context"
	"fmt"
	"strings"

	"mailproxy/internal/config"
	"mailproxy/internal/frontend"
)

// follow asks a mailhost for its capabilities after the login if IMAP_PROXY_FOREIGN wants them.
func (u *upstream) follow(context.Context) error {
	u.step = frontend.StepFollow
	switch u.m.Config.IMAP.Foreign {
	case config.ForeignAnswer:
		return u.passAnswer()
	case config.ForeignCode:
		return u.passCode()
	}
	return nil
}

// warnOfMissing says in the log which capabilities clients were promised that this mailhost does not have, when it has told
// its list along with the login and IMAP_PROXY_FOREIGN does not pass that list on. With DEBUG_LOGIN only: one line a login is
// for finding out, not for every day. What concerns the time before the login has ended with it.
func (u *upstream) warnOfMissing() {
	c := u.m.Config
	if u.learned == "" || !c.Debug || c.IMAP.Foreign != config.ForeignHidden {
		return
	}
	var missing []string
	for word := range strings.FieldsSeq(u.m.Offered) {
		if !beforeLogin(word) && !hasCapability(u.learned, word) {
			missing = append(missing, word)
		}
	}
	if len(missing) > 0 {
		u.m.Log.Warnf("%s (%s) does not have what clients are promised: %s", u.m.Host, u.m.Addr, strings.Join(missing, " "))
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

// passAnswer keeps the mailhost's whole answer to CAPABILITY, line by line, for the client.
func (u *upstream) passAnswer() error {
	if err := u.send(u.m.Tag + " CAPABILITY" + crlf); err != nil {
		return err
	}
	for {
		r, err := u.in.next()
		switch {
		case err != nil:
			return err
		case r.tag != "*" && r.tag != u.m.Tag || len(u.m.Answer) > maxChatter/256:
			return fmt.Errorf("mailhost answers CAPABILITY with %q", u.brief(r.text))
		case r.tag == u.m.Tag && r.status != "OK":
			u.m.Answer = nil // it is logged in all the same
			return nil
		}
		u.m.Answer = append(u.m.Answer, r.text+crlf...)
		if r.tag == u.m.Tag {
			return nil
		}
	}
}

// passCode makes the tagged OK with the mailhost's list, which most mailhosts have sent along with theirs.
func (u *upstream) passCode() error {
	if u.learned == "" {
		const tag = "C1"
		if err := u.send(tag + " CAPABILITY" + crlf); err != nil {
			return err
		}
		if _, err := u.tagged(tag); err != nil {
			return err
		}
	}
	if u.learned != "" {
		u.m.Answer = []byte(u.m.Tag + " OK [CAPABILITY " + u.learned + "] " + textProxied + crlf)
	}
	return nil
}

// proxiedReply is the answer to a login that has succeeded at a mailhost.
func proxiedReply(tag string, m *frontend.Mailhost) string {
	if len(m.Answer) > 0 {
		return string(m.Answer)
	}
	return tag + " OK " + textProxied + crlf
}
