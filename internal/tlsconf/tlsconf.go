// Package tlsconf turns Courier's TLS_* settings, and the PROXY_TLS_* settings for the way to the mailhost, into
// configurations of crypto/tls, and wraps the connections they make so that a cut stream is told from an ended one.
//
// What is deliberately lacking: TLS_PRIORITY (GnuTLS's own language), TLS_DHPARAMS and TLS_MIN_DH_BITS (crypto/tls has
// no finite-field Diffie-Hellman), TLS_CACHESIZE (sessions are resumed from tickets, not from a shared memory cache),
// certificate revocation lists and OCSP stapling, renegotiation.
package tlsconf

import (
	"crypto/tls"
	"fmt"
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

func (o *Options) warn(format string, a ...any) {
	if o.Warn != nil {
		o.Warn(format, a...)
	}
}

func (o *Options) now() time.Time {
	if o.Now != nil {
		return o.Now()
	}
	return time.Now()
}

// Server is the client side of the proxy: this program is the TLS server.
type Server struct {
	config *tls.Config
	store  *certStore
}

// NewServer reads everything a handshake with a client needs: certificates and keys (with the rights the process has
// now), trusted certificates when client certificates are asked for, ticket keys when TLS_CACHEFILE is set. An error means that TLS
// can not be had with these settings; its text names the setting or the file.
func NewServer(o Options) (*Server, error) {
	store := &certStore{opts: o}
	if err := store.loadDefault(); err != nil {
		return nil, err
	}
	cfg, err := o.serverPolicy()
	if err != nil {
		return nil, err
	}
	cfg.GetCertificate = store.get
	if err := o.clientCertificates(cfg); err != nil {
		return nil, err
	}
	o.tickets(cfg)
	return &Server{config: cfg, store: store}, nil
}

// serverPolicy is what the settings say of handshakes with clients, but for certificates.
func (o *Options) serverPolicy() (cfg *tls.Config, err error) {
	cfg = &tls.Config{
		MinVersion:                  o.minVersion(),
		Time:                        o.Now,
		NextProtos:                  strings.FieldsFunc(o.get("TLS_ALPN"), isListSeparator),
		DynamicRecordSizingDisabled: true, // mail is bulk; small first records only cost packets
	}
	cfg.CipherSuites, err = o.cipherSuites()
	return cfg, err
}

// NewClient is the configuration for the way to a mailhost whose name, as the account's mailhost option spells it, is
// host: without port, an IP address possibly. PROXY_TLS_VERIFYPEER=NONE takes any certificate; PEER, the default, wants one for
// host, signed by PROXY_TLS_TRUSTCERTS or the system's roots. Versions below TLS 1.2 are never spoken to a mailhost.
func NewClient(o Options, host string) (*tls.Config, error) {
	cfg, err := o.clientPolicy()
	if err != nil {
		return nil, err
	}
	cfg.ServerName = strings.TrimSuffix(host, ".")
	if path := o.get("PROXY_TLS_TRUSTCERTS"); path != "" && !cfg.InsecureSkipVerify {
		if cfg.RootCAs, err = loadTrust(path); err != nil {
			return nil, fmt.Errorf("PROXY_TLS_TRUSTCERTS: %w", err)
		}
	}
	return cfg, nil
}

// clientPolicy is what the settings say of handshakes with mailhosts, but for certificates.
func (o *Options) clientPolicy() (*tls.Config, error) {
	cfg := &tls.Config{
		MinVersion:                  tls.VersionTLS12,
		Time:                        o.Now,
		DynamicRecordSizingDisabled: true,
	}
	switch level := o.get("PROXY_TLS_VERIFYPEER"); strings.ToUpper(level) {
	case "NONE":
		cfg.InsecureSkipVerify = true
	case "", "PEER", "REQUIREPEER":
	default:
		return nil, fmt.Errorf("PROXY_TLS_VERIFYPEER=%q: want NONE or PEER", level)
	}
	return cfg, nil
}

func isListSeparator(r rune) bool { return r == ',' || r == ':' || r == ' ' || r == '\t' }
