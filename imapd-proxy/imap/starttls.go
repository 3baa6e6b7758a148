package imap

import (
	"context"

	"mailproxy/internal/frontend"
)

// startTLS is RFC 3501 section 6.2.1. What a client, or somebody in between, has sent after the command is
// not read before the handshake, so it can only disturb the handshake and is never taken for a command after
// it (CVE-2011-0411).
func (d *dialogue) startTLS(ctx context.Context, tag string) error {
	if !d.s.OffersStartTLS() {
		return errSyntax
	}
	if err := d.cmd.end(); err != nil {
		return err
	}
	if err := d.s.Reply(tag + " OK Begin SSL/TLS negotiation now."); err != nil {
		return err
	}
	if err := d.s.StartTLS(ctx); err != nil {
		return frontend.Failed // logged; the client does not understand clear text any more
	}
	d.clientID = nil // nothing is believed that was said in clear text
	return nil
}
