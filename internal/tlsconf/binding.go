package tlsconf

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"crypto/x509"
	"hash"
)

// Binding is a channel binding (RFC 5056) of a TLS connection: data that both of its ends know, so that who
// authenticates itself over it can say which connection that is.
type Binding struct {
	Type string
	Data []byte
}

// Bindings are those of the connection that are known: tls-exporter (RFC 9266) for TLS 1.3, and for TLS 1.2
// with extended master secret; tls-server-end-point (RFC 5929 section 4) where it is known which certificate
// the client has been shown, now or when the resumed session began. It is for connections with clients,
// before they are given to a Carrier.
func (c *Conn) Bindings() []Binding {
	var list []Binding
	state := c.ConnectionState()
	if data, err := state.ExportKeyingMaterial("EXPORTER-Channel-Binding", nil, 32); err == nil {
		list = append(list, Binding{"tls-exporter", data})
	}
	if c.chosen != nil {
		if data := c.chosen.endPoint(&state); len(data) > 0 {
			list = append(list, Binding{"tls-server-end-point", data})
		}
	}
	return list
}

// chosen remembers which certificate a server has shown on one connection: its hash is noted when it is
// chosen, and kept with the session's ticket, as a session that is resumed shows none.
type chosen struct {
	now     []byte // of this handshake
	resumed []byte // with the last ticket that was read
}

// endPointPrefix is in front of what is ours among a ticket's additional data.
const endPointPrefix = "mailproxy tls-server-end-point "

// watch makes cfg, which serves one connection, tell which certificate is shown.
func watch(cfg *tls.Config) *chosen {
	c := &chosen{}
	get := cfg.GetCertificate
	cfg.GetCertificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		cert, err := get(hello)
		if err == nil && cert != nil {
			c.now = endPoint(cert)
		}
		return cert, err
	}
	if cfg.SessionTicketsDisabled {
		return c
	}
	cfg.WrapSession = func(state tls.ConnectionState, session *tls.SessionState) ([]byte, error) {
		if data := c.endPoint(&state); len(data) > 0 {
			session.Extra = append(session.Extra, append([]byte(endPointPrefix), data...))
		}
		return cfg.EncryptTicket(state, session)
	}
	cfg.UnwrapSession = func(ticket []byte, state tls.ConnectionState) (*tls.SessionState, error) {
		session, err := cfg.DecryptTicket(ticket, state)
		c.resumed = nil
		if session != nil {
			for _, extra := range session.Extra {
				if data, ok := bytes.CutPrefix(extra, []byte(endPointPrefix)); ok {
					c.resumed = data
				}
			}
		}
		return session, err
	}
	return c
}

// endPoint is the hash of the certificate that the client knows the connection by; nil = not known.
func (c *chosen) endPoint(state *tls.ConnectionState) []byte {
	if state.DidResume {
		return c.resumed
	}
	return c.now
}

// endPoint hashes a certificate as RFC 5929 section 4.1 says: with the hash of its signature, SHA-256 in
// place of MD5 and SHA-1. nil = it does not say (Ed25519).
func endPoint(cert *tls.Certificate) []byte {
	leaf := cert.Leaf
	if leaf == nil {
		var err error
		if leaf, err = x509.ParseCertificate(cert.Certificate[0]); err != nil {
			return nil
		}
	}
	var h hash.Hash
	switch leaf.SignatureAlgorithm {
	case x509.MD5WithRSA, x509.SHA1WithRSA, x509.DSAWithSHA1, x509.ECDSAWithSHA1,
		x509.SHA256WithRSA, x509.SHA256WithRSAPSS, x509.DSAWithSHA256, x509.ECDSAWithSHA256:
		h = sha256.New()
	case x509.SHA384WithRSA, x509.SHA384WithRSAPSS, x509.ECDSAWithSHA384:
		h = sha512.New384()
	case x509.SHA512WithRSA, x509.SHA512WithRSAPSS, x509.ECDSAWithSHA512:
		h = sha512.New()
	default:
		return nil
	}
	h.Write(cert.Certificate[0])
	return h.Sum(nil)
}
