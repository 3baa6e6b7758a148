package imap

import (
	"context"
	"slices"
	"strings"
)

// capability is RFC 3501 section 6.1.1.
func (d *dialogue) capability(ctx context.Context, tag string) error {
	if err := d.cmd.end(); err != nil {
		return err
	}
	return d.s.Reply("* CAPABILITY " + d.capabilities() + crlf + tag + " OK CAPABILITY completed")
}

// capabilities makes the list from Courier's settings, in Courier's order: what the mailhosts can do, as the
// administrator has written it down, and what this program takes now. No word is in it twice, and nothing
// that would be refused: STARTTLS and LOGINDISABLED follow from the connection, AUTH= and SASL-IR from what
// AUTHENTICATE takes on it. IMAP_KEYWORDS has no part in it: Courier advertises keywords only along with its
// own SMAP protocol, which is not spoken here.
func (d *dialogue) capabilities() string {
	c := &d.s.Config.IMAP
	mechanisms := d.s.Mechanisms(d.listed())
	words := &wordList{}
	for _, word := range d.settings() {
		if d.takes(word, mechanisms) {
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

// settings are the words of IMAP_CAPABILITY_TLS under TLS when it is set, else of IMAP_CAPABILITY.
func (d *dialogue) settings() []string {
	c := &d.s.Config.IMAP
	if d.s.TLS && c.CapabilityTLS != "" {
		return strings.Fields(c.CapabilityTLS)
	}
	return strings.Fields(c.Capability)
}

// listed are the mechanisms among them. AUTHENTICATE takes every mechanism, listed or not, as Courier does,
// except those that not every account can use (SCRAM, tokens).
func (d *dialogue) listed() []string {
	var names []string
	for _, word := range d.settings() {
		if mechanism, ok := strings.CutPrefix(strings.ToUpper(word), auth); ok {
			names = append(names, mechanism)
		}
	}
	return names
}

// auth is in front of a mechanism's name in the list.
const auth = "AUTH="

// takes says whether a word of the settings is true of the connection as it is.
func (d *dialogue) takes(word string, mechanisms []string) bool {
	upper := strings.ToUpper(word)
	if mechanism, ok := strings.CutPrefix(upper, auth); ok {
		return !d.s.NeedsTLS() && slices.Contains(mechanisms, mechanism)
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
