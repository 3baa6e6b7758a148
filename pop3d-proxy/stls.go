package main

import (
	"context"

	"mailproxy/internal/line"
)

// stls is STLS, RFC 2595 section 4. What was sent behind the command in clear text is not read before the handshake, which it
// disturbs, and so is never taken for a command after it (CVE-2011-0411).
func (d *dialogue) stls(ctx context.Context, arg string) error {
	if !d.stlsOffered() || arg != "" {
		return d.ok("-ERR TLS support not available.")
	}
	if err := d.ok("+OK Begin SSL/TLS negotiation now."); err != nil {
		return err
	}
	if d.s.StartTLS(ctx) != nil {
		d.end(exitFail) // logged; the client does not understand clear text any more
		return nil
	}
	d.in = line.NewReader(d.s.Conn)
	return nil
}

// stlsOffered says whether CAPA lists STLS.
func (d *dialogue) stlsOffered() bool { return d.s.OffersStartTLS() }

// tlsMissing says that nobody may log in on this connection as it is (POP3_TLS_REQUIRED).
func (d *dialogue) tlsMissing() bool { return d.s.NeedsTLS() }

// external returns the user that the client's certificate proves, empty if there is none.
func (d *dialogue) external() string { return d.s.ExternalName() }
