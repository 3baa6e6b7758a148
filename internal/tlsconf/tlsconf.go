// Package tlsconf turns the settings about TLS, with clients and with mailhosts, into configurations of
// crypto/tls, and wraps the connections they make so that a cut stream is told from an ended one.
//
// What is deliberately lacking: TLS_PRIORITY (GnuTLS's own language), TLS_DHPARAMS and TLS_MIN_DH_BITS
// (crypto/tls has no finite-field Diffie-Hellman), TLS_CACHESIZE (sessions are resumed from tickets, not from
// a shared memory cache), certificate revocation lists and OCSP stapling, renegotiation.
package tlsconf

import (
	"cmp"
	"crypto/tls"
	"strings"
	"time"

	"mailproxy/internal/config"
	"mailproxy/internal/trust"
)

// Options is what certificates and TLS configurations depend on besides the settings.
type Options struct {
	TLS      config.TLS
	LocalIP  string // address the client connected to, to find a certificate of its own; may be empty
	StartTLS bool   // TLS_STARTTLS_PROTOCOL instead of TLS_PROTOCOL
	// Warn is told of settings that are not understood and files with too open a mode; nil: nobody is.
	Warn func(format string, a ...any)
	// Now is the clock for the age of ticket keys and for certificates; nil: time.Now.
	Now func() time.Time
	// Memory is what a process that serves many connections remembers of certificates; nil = each connection
	// reads them anew.
	Memory *Memory
	// Err is told that a certificate cannot be used and another one, or the last good one, is served in its
	// place; nil: Warn.
	Err func(format string, a ...any)
}

func (o *Options) warn(format string, a ...any) {
	if o.Warn != nil {
		o.Warn(format, a...)
	}
}

func (o *Options) err(format string, a ...any) {
	if o.Err == nil {
		o.warn(format, a...)
		return
	}
	o.Err(format, a...)
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
	chosen *chosen
}

// NewServer reads everything a handshake with a client needs: certificates and keys (with the rights the
// process has now), trusted certificates when client certificates are asked for, ticket keys when
// TLS_CACHEFILE is set. An error means that TLS cannot be had with these settings; its text names the
// setting or the file.
func NewServer(o Options) (*Server, error) {
	store := &certStore{opts: o}
	if err := store.loadDefault(); err != nil {
		return nil, err
	}
	config := o.serverConfig
	if o.Memory != nil {
		config = func() (*tls.Config, error) { return o.Memory.config(&o) }
	}
	cfg, err := config()
	if err != nil {
		return nil, err
	}
	cfg.GetCertificate = store.get
	return &Server{config: cfg, store: store, chosen: watch(cfg)}, nil
}

// serverConfig is all but the certificates.
func (o *Options) serverConfig() (*tls.Config, error) {
	cfg := o.serverPolicy()
	if err := o.clientCertificates(cfg); err != nil {
		return nil, err
	}
	o.tickets(cfg)
	return cfg, nil
}

// serverPolicy is the configuration of handshakes with clients, without certificates.
func (o *Options) serverPolicy() *tls.Config {
	if p := o.TLS.Priority; p != "" && !strings.EqualFold(p, "NORMAL") {
		o.warn("TLS_PRIORITY is a setting of GnuTLS and is ignored: use TLS_PROTOCOL and TLS_CIPHER_LIST")
	}
	if unknown := o.TLS.Ciphers.Unknown; len(unknown) > 0 {
		o.warn("TLS_CIPHER_LIST: not available here: %q", strings.Join(unknown, " "))
	}
	return &tls.Config{
		MinVersion:                  o.minVersion(),
		CipherSuites:                o.TLS.Ciphers.IDs,
		Time:                        o.Now,
		NextProtos:                  o.TLS.ALPN,
		DynamicRecordSizingDisabled: true, // mail is bulk; small first records only cost packets
	}
}

// minVersion is the lowest protocol version to speak with clients, TLS 1.2 where the settings leave it open
// (RFC 8996).
func (o *Options) minVersion() uint16 {
	if o.StartTLS {
		return cmp.Or(o.TLS.StartTLSProtocol, o.TLS.Protocol, tls.VersionTLS12)
	}
	return cmp.Or(o.TLS.Protocol, tls.VersionTLS12)
}

// NewClient is the configuration for the way to a mailhost whose name, as the account's mailhost option
// spells it, is host: without port, an IP address possibly. VerifyNone takes any certificate; everything else
// wants one for host, signed by m.TrustCerts or the system's roots. Versions below TLS 1.2 are never spoken
// to a mailhost.
func NewClient(m config.MailhostTLS, host string) (cfg *tls.Config, err error) {
	cfg = &tls.Config{
		MinVersion:                  tls.VersionTLS12,
		DynamicRecordSizingDisabled: true,
		ServerName:                  strings.TrimSuffix(host, "."),
		InsecureSkipVerify:          m.Verify == config.VerifyNone,
	}
	if m.TrustCerts != "" && !cfg.InsecureSkipVerify {
		cfg.RootCAs, err = trust.Load(trust.Setting{Name: "PROXY_TLS_TRUSTCERTS", Path: m.TrustCerts})
		if err != nil {
			return nil, err
		}
	}
	return cfg, nil
}
