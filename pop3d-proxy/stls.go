package main

import "context"

// stls is STLS, RFC 2595 section 4.
func (d *dialogue) stls(_ context.Context, _ string) error {
	return d.ok("-ERR TLS support not available.")
}

// stlsOffered says whether CAPA lists STLS.
func (d *dialogue) stlsOffered() bool { return false }

// tlsMissing says that nobody may log in on this connection as it is (POP3_TLS_REQUIRED).
func (d *dialogue) tlsMissing() bool {
	return d.s.Settings.Number("POP3_TLS_REQUIRED") != 0 && !d.s.TLS
}

// external returns the user that the client's certificate proves, empty if there is none.
func (d *dialogue) external() string { return "" }
