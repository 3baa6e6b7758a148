package imap

import (
	"context"
	"strings"

	"mailproxy/authlib/sasl"
)

// greeting is the server's first line; the capability list spares clients a command (RFC 3501 section 7.1).
func (d *dialogue) greeting() string {
	return "* OK [CAPABILITY " + d.capabilities() + "] " + textReady + crlf
}

// capability is RFC 3501 section 6.1.1.
func (d *dialogue) capability(ctx context.Context, tag string) error {
	if err := d.cmd.end(); err != nil {
		return err
	}
	return d.send("* CAPABILITY " + d.capabilities() + crlf + tag + " OK CAPABILITY completed" + crlf)
}

// capabilities makes the list from Courier's settings, in Courier's order: what the mailhosts can do, as the
// administrator has written it down, and what this program takes now. No word is in it twice, and nothing
// that would be refused: STARTTLS and LOGINDISABLED follow from the connection, AUTH= and SASL-IR from what
// AUTHENTICATE takes on it. IMAP_KEYWORDS has no part in it: Courier advertises keywords only along with its
// own SMAP protocol, which is not spoken here.
func (d *dialogue) capabilities() string {
	c := &d.s.Config.IMAP
	list := c.Capability
	if d.s.TLS && c.CapabilityTLS != "" {
		list = c.CapabilityTLS
	}
	words := &wordList{}
	for word := range strings.FieldsSeq(list) {
		if d.takes(word) {
			words.add(word)
		}
	}
	if c.ACL {
		words.add("ACL", "ACL2=UNION")
	}
	if c.ID {
		words.add("ID")
	}
	switch {
	case d.s.OffersStartTLS():
		words.add("STARTTLS")
	case d.s.ExternalName() != "":
		words.add("AUTH=EXTERNAL")
	}
	if d.s.NeedsTLS() {
		words.add("LOGINDISABLED")
	}
	if c.Outbox != "" {
		words.add("XCOURIEROUTBOX=INBOX" + c.Outbox)
	}
	if c.Trash {
		words.add("XMAGICTRASH")
	}
	if d.s.Config.UTF8 {
		words.add("ENABLE", "UTF8=ACCEPT")
	}
	return strings.Join(words.list, " ")
}

// takes says whether a word of IMAP_CAPABILITY is true of the connection as it is.
func (d *dialogue) takes(word string) bool {
	upper := strings.ToUpper(word)
	if mechanism, ok := strings.CutPrefix(upper, "AUTH="); ok {
		return !d.s.NeedsTLS() && sasl.Known(mechanism, d.s.ExternalName())
	}
	switch upper {
	case "SASL-IR":
		return !d.s.NeedsTLS()
	case "STARTTLS", "LOGINDISABLED":
		return false // not the administrator's to say
	}
	return true
}

// wordList is a list without the same word twice, in whatever case.
type wordList struct{ list []string }

func (l *wordList) add(words ...string) {
	for _, word := range words {
		if !hasCapability(strings.Join(l.list, " "), word) {
			l.list = append(l.list, word)
		}
	}
}
