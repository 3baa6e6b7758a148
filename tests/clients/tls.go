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

// settings chooses a client's configuration: clear text, StartTLS or FromStart.
func (s Server) settings(clear, startTLS, fromStart string) string {
	switch s.TLS {
	case StartTLS:
		return startTLS
	case FromStart:
		return fromStart
	}
	return clear
}

func (s Server) fetchmailTLS() string {
	verify := "sslproto 'auto' sslcertck sslcertfile " + s.Trust
	return s.settings("sslproto ''", verify, "ssl "+verify)
}

func (s Server) mbsyncTLS() string {
	verify := "\nCertificateFile " + s.Trust
	return s.settings("SSLType None", "SSLType STARTTLS"+verify, "SSLType IMAPS"+verify)
}

func (s Server) mpopTLS() string {
	verify := "\ntls_trust_file " + s.Trust
	return s.settings("tls off", "tls on\ntls_starttls on"+verify, "tls on\ntls_starttls off"+verify)
}

func (s Server) muttTLS() string {
	verify := "set ssl_ca_certificates_file=\"" + s.Trust + "\"\n"
	return s.settings("set ssl_starttls=no ssl_force_tls=no", verify+"set ssl_starttls=yes ssl_force_tls=yes",
		verify)
}
