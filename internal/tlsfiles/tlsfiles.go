// Package tlsfiles is what a front end has to know of Courier's TLS_* settings although somebody else makes its
// handshakes: which files hold the certificate and the key for a connection, whether they look right, and which variables tell
// about a connection that is encrypted.
//
// It deliberately lacks all cryptography: what it is linked into starts in a quarter of a millisecond less. That a key belongs
// to its certificate is found out in the handshake, and by package tlsconf.
package tlsfiles

import (
	"strings"
	"time"
)

// Options is what certificates and TLS configurations depend on besides the settings.
type Options struct {
	Settings map[string]string             // TLS_* and PROXY_TLS_*, as Courier's files or the launcher give them
	LocalIP  string                        // address the client connected to, to find a certificate of its own; may be empty
	StartTLS bool                          // TLS_STARTTLS_PROTOCOL instead of TLS_PROTOCOL
	Warn     func(format string, a ...any) // settings that are not understood, files with too open a mode; nil: nobody is told
	Now      func() time.Time              // clock for the age of ticket keys and for certificates; nil: time.Now
}

func (o *Options) get(name string) string { return strings.TrimSpace(o.Settings[name]) }

// Check tells whether a handshake with these settings finds a certificate: the file for this address or the default one
// can be read and holds what looks like a certificate, and it (or TLS_PRIVATE_KEYFILE) a private key without a pass phrase. It is
// made for every plaintext connection, to know whether STARTTLS can be offered, and so has to be cheap; the error names the setting or
// the file.
func Check(o Options) error {
	files, err := o.Default()
	if err != nil {
		return err
	}
	text, err := files.Read()
	if err != nil {
		return err
	}
	return text.check()
}
