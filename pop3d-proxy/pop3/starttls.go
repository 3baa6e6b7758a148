package pop3

import (
	"context"

	"mailproxy/internal/line"
)

// stls is STLS, RFC 2595 section 4. What a client, or somebody in between, has sent behind the command is not
// read before the handshake, so it can only disturb the handshake and is never taken for a command after it
// (CVE-2011-0411).
func (d *dialogue) stls(ctx context.Context, _ string) error {
	if !d.s.OffersStartTLS() {
		return d.ok("-ERR TLS support not available.")
	}
	if err := d.ok("+OK Begin SSL/TLS negotiation now."); err != nil {
		return err
	}
	if err := d.s.StartTLS(ctx); err != nil {
		d.end(exitFail) // logged; the client does not understand clear text any more
		return nil
	}
	// Nor is anything believed that was said in clear text (Courier keeps the name).
	d.user, d.utf8 = "", false
	d.received += d.in.Count()
	d.in.Clear()
	d.in = line.NewReader(d.s.Client)
	return nil
}
