package tlsfiles

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"mailproxy/internal/smallfile"
)

// Files with a kind each, as relay.EncryptRequest.Open gives them.
const (
	Cert  = "CERT"  // the certificate chain, and the private key unless that is in a file of its own
	Key   = "KEY"   // the private key
	Trust = "TRUST" // certificates that the peer's must be signed by
)

// Open opens the files of a handshake with a client, for somebody who has no right to do so: descriptors by kind, to be closed by
// the caller. For an empty server, and so for every handshake, these are the default certificate and, where client certificates
// are asked for, TLS_TRUSTCERTS, which must be a file then; else the certificate for the server that the client names, or nothing.
func (o *Options) Open(server string) (map[string]int, error) {
	if server != "" {
		pair, ok := o.ForName(server)
		if !ok {
			return nil, nil
		}
		return o.openPair(pair)
	}
	pair, err := o.Default()
	if err != nil {
		return nil, err
	}
	files, err := o.openPair(pair)
	if err != nil || !o.asksForCertificate() {
		return files, err
	}
	fd, err := openTrust("TLS_TRUSTCERTS", o.get("TLS_TRUSTCERTS"))
	if err != nil {
		closeAll(files)
		return nil, err
	}
	files[Trust] = fd
	return files, nil
}

// OpenMailhost is the same for a handshake with a mailhost: PROXY_TLS_TRUSTCERTS or the system's bundle of certificates, unless
// any certificate is good.
func (o *Options) OpenMailhost(string) (map[string]int, error) {
	if strings.EqualFold(o.get("PROXY_TLS_VERIFYPEER"), "NONE") {
		return nil, nil
	}
	path := o.get("PROXY_TLS_TRUSTCERTS")
	if path == "" {
		path = o.get("SSL_CERT_FILE")
	}
	if path == "" {
		path = systemBundle()
	}
	fd, err := openTrust("PROXY_TLS_TRUSTCERTS", path)
	if err != nil {
		return nil, err
	}
	return map[string]int{Trust: fd}, nil
}

// asksForCertificate says whether the trusted certificates matter. A level that does not exist is for somebody else to report.
func (o *Options) asksForCertificate() bool {
	level := o.get("TLS_VERIFYPEER")
	return level != "" && !strings.EqualFold(level, "NONE")
}

// openPair opens certificate and key, and warns of a key that everybody may read.
func (o *Options) openPair(p Pair) (map[string]int, error) {
	fd, st, err := smallfile.Open(p.Cert, MaxCert)
	if err != nil {
		return nil, err
	}
	files := map[string]int{Cert: fd}
	if p.Key != p.Cert {
		if fd, st, err = smallfile.Open(p.Key, MaxCert); err != nil {
			closeAll(files)
			return nil, err
		}
		files[Key] = fd
	}
	if st.Mode&everybody != 0 && o.Warn != nil {
		o.Warn("%s holds a private key and can be read by everybody", p.Key)
	}
	return files, nil
}

func openTrust(setting, path string) (int, error) {
	if path == "" {
		return -1, errors.New(setting + " is not set")
	}
	fd, _, err := smallfile.Open(path, MaxTrust)
	if err != nil {
		return -1, fmt.Errorf("%s: %w", setting, err)
	}
	return fd, nil
}

// systemBundle is where distributions keep the certificates of public authorities in one file; "" where there is none.
func systemBundle() string {
	for _, path := range []string{
		"/etc/ssl/certs/ca-certificates.crt",                // Debian, Ubuntu, Arch
		"/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", // Fedora, RHEL
		"/etc/ssl/ca-bundle.pem",                            // openSUSE
		"/etc/ssl/cert.pem",                                 // Alpine
	} {
		if unix.Access(path, unix.R_OK) == nil {
			return path
		}
	}
	return ""
}

func closeAll(files map[string]int) {
	for _, fd := range files {
		unix.Close(fd)
	}
}
