package pop3

import (
	"context"

	"mailproxy/internal/frontend"
)

// startTLS is STLS, RFC 2595 section 4. What a client, or somebody in between, has sent after the command is
// not read before the handshake, so it can only disturb the handshake and is never taken for a command after
// it (CVE-2011-0411).
func (d *dialogue) startTLS(ctx context.Context, _ string) error {
	if !d.s.OffersStartTLS() {
		return d.ok("-ERR TLS support not available.")
	}
	if err := d.ok("+OK Begin SSL/TLS negotiation now."); err != nil {
		return err
	}
	if err := d.s.StartTLS(ctx); err != nil {
		return frontend.Failed // logged; the client does not understand clear text any more
	}
	// Nor is anything believed that was said in clear text (Courier keeps the name).
	d.name, d.utf8 = "", false
	return nil
}
