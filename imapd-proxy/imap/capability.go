package imap

import "context"

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

// capabilities makes the list from Courier's settings, in Courier's order. It tells what the mailhosts can do, as the
// administrator has written it down, and what can be done before the login. IMAP_KEYWORDS has no part in it: Courier
// advertises keywords only along with its own SMAP protocol, which is not spoken here.
func (d *dialogue) capabilities() string {
	settings := d.s.Settings
	list := settings.Get("IMAP_CAPABILITY")
	if list == "" {
		list = "IMAP4rev1"
	}
	if with := settings.Get("IMAP_CAPABILITY_TLS"); d.s.TLS && with != "" {
		list = with
	}
	if settings.Number("IMAP_ACL") != 0 {
		list += " ACL ACL2=UNION"
	}
	if _, ok := settings.Lookup("IMAP_ID_FIELDS"); ok {
		list += " ID"
	}
	switch {
	case d.s.OffersStartTLS():
		list += " STARTTLS"
		if d.s.NeedsTLS() {
			list += " LOGINDISABLED"
		}
	case d.s.ExternalName() != "":
		list += " AUTH=EXTERNAL"
	}
	if outbox := settings.Get("OUTBOX"); outbox != "" {
		list += " XCOURIEROUTBOX=INBOX" + outbox
	}
	if settings.Number("IMAP_MOVE_EXPUNGE_TO_TRASH") != 0 {
		list += " XMAGICTRASH"
	}
	return list + " ENABLE UTF8=ACCEPT"
}
