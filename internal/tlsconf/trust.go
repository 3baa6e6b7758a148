package tlsconf

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"mailproxy/internal/config"
	"mailproxy/internal/smallfile"
)

// clientCertificates sets what TLS_VERIFYPEER asks for: NONE (and no setting) no certificate from the client,
// PEER one that is good if there is one, REQUIREPEER a good one. The trusted certificates are only read when
// they are needed: to load a public bundle costs more than the rest of a login.
func (o *Options) clientCertificates(cfg *tls.Config) (err error) {
	if cfg.ClientAuth = o.clientAuth(); cfg.ClientAuth == tls.NoClientCert {
		return nil
	}
	if cfg.ClientCAs, err = loadTrust(o.TLS.TrustCerts); err != nil {
		return fmt.Errorf("TLS_TRUSTCERTS: %w", err)
	}
	return nil
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

// loadTrust reads the trusted certificates of a PEM file, or of all files of a directory (OpenSSL's c_rehash
// layout needs no special care: its links are files like the others).
func loadTrust(path string) (*x509.CertPool, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	files := []string{path}
	if st.IsDir() {
		if files, err = filepath.Glob(filepath.Join(escapeGlob(path), "*")); err != nil {
			return nil, err
		}
	}
	pool, found := x509.NewCertPool(), false
	for _, file := range files {
		data, _, err := smallfile.Read(file, maxTrust)
		switch {
		case err != nil && st.IsDir():
			continue // a directory's dangling links and subdirectories
		case err != nil:
			return nil, err
		}
		found = pool.AppendCertsFromPEM(data) || found
	}
	if !found {
		return nil, errors.New(path + ": no certificate in it")
	}
	return pool, nil
}

func escapeGlob(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}
