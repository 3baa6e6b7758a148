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
	c := &d.s.Config.IMAP
	list := c.Capability
	if d.s.TLS && c.CapabilityTLS != "" {
		list = c.CapabilityTLS
	}
	if c.ACL {
		list += " ACL ACL2=UNION"
	}
	if c.ID {
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
	if c.Outbox != "" {
		list += " XCOURIEROUTBOX=INBOX" + c.Outbox
	}
	if c.Trash {
		list += " XMAGICTRASH"
	}
	return list + " ENABLE UTF8=ACCEPT"
}
