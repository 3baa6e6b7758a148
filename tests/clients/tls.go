package clients

// TLS is how a client encrypts.
type TLS string

// The ways there are. The zero value is clear text.
const (
	StartTLS  TLS = "starttls"  // STARTTLS or STLS on the clear-text port
	FromStart TLS = "fromstart" // TLS from the first byte
)

// url is curl's.
func (s Server) url(scheme, addr string) string {
	if s.TLS == FromStart {
		scheme += "s"
	}
	return scheme + "://" + addr
}

func (s Server) fetchmailTLS() string {
	switch s.TLS {
	case StartTLS:
		return "sslproto 'auto' sslcertck sslcertfile " + s.Trust
	case FromStart:
		return "ssl sslproto 'auto' sslcertck sslcertfile " + s.Trust
	}
	return "sslproto ''"
}

func (s Server) mbsyncTLS() string {
	switch s.TLS {
	case StartTLS:
		return "SSLType STARTTLS\nCertificateFile " + s.Trust
	case FromStart:
		return "SSLType IMAPS\nCertificateFile " + s.Trust
	}
	return "SSLType None"
}

func (s Server) mpopTLS() string {
	switch s.TLS {
	case StartTLS:
		return "tls on\ntls_starttls on\ntls_trust_file " + s.Trust
	case FromStart:
		return "tls on\ntls_starttls off\ntls_trust_file " + s.Trust
	}
	return "tls off"
}
