package tlsconf

import (
	"crypto/tls"

	"mailproxy/internal/config"
	"mailproxy/internal/trust"
)

// clientCertificates sets what TLS_VERIFYPEER asks for: NONE (and no setting) no certificate from the client,
// PEER one that is good if there is one, REQUIREPEER a good one. The trusted certificates are only read when
// they are needed: to load a public bundle costs more than the rest of a login.
func (o *Options) clientCertificates(cfg *tls.Config) (err error) {
	if cfg.ClientAuth = o.clientAuth(); cfg.ClientAuth == tls.NoClientCert {
		return nil
	}
	cfg.ClientCAs, err = trust.Load(trust.Setting{Name: "TLS_TRUSTCERTS", Path: o.TLS.TrustCerts})
	return err
}

// clientAuth is TLS_VERIFYPEER for crypto/tls.
func (o *Options) clientAuth() tls.ClientAuthType {
	switch o.TLS.Verify {
	case "", config.VerifyNone:
		return tls.NoClientCert
	case config.VerifyPeer:
		return tls.VerifyClientCertIfGiven
	default:
		return tls.RequireAndVerifyClientCert
	}
}
