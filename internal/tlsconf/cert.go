package tlsconf

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"strings"
)

// pairFiles names the file with a certificate chain and the one with its private key; both may be the same.
type pairFiles struct{ cert, key string }

// Check tells, without parsing a key, whether a handshake with these settings finds a certificate: the file for this
// address or the default one can be read, begins with a certificate that parses, and holds (or TLS_PRIVATE_KEYFILE does) a
// private key of it. It is made for every plaintext connection, to know whether STARTTLS can be offered, and so has to be
// cheap (some ten microseconds; parsing an RSA key costs ten times that).
func Check(o Options) error {
	_, err := o.defaultPair()
	return err
}

// defaultPair finds and checks the files for a client that names no server we have.
func (o *Options) defaultPair() (pairText, error) {
	files, err := o.defaultFiles()
	if err != nil {
		return pairText{}, err
	}
	text, err := files.read()
	if err != nil {
		return text, err
	}
	if err := checkPair(text.cert, text.key); err != nil {
		return text, fmt.Errorf("%s: %w", files, err)
	}
	return text, nil
}

// pairText is what the files hold.
type pairText struct {
	files     pairFiles
	cert, key []byte
	open      string // name of the key's file when everybody may read it
}

func (p pairFiles) String() string {
	if p.cert == p.key {
		return p.cert
	}
	return p.cert + ", " + p.key
}

func (p pairFiles) read() (pairText, error) {
	text := pairText{files: p}
	cert, mode, err := readFileMode(p.cert, maxCertFile)
	if err != nil {
		return text, err
	}
	text.cert, text.key = cert, cert
	if p.key != p.cert {
		if text.key, mode, err = readFileMode(p.key, maxCertFile); err != nil {
			return text, err
		}
	}
	if mode&0o004 != 0 {
		text.open = p.key
	}
	return text, nil
}

// baseFiles are TLS_CERTFILE and TLS_PRIVATE_KEYFILE.
func (o *Options) baseFiles() (pairFiles, error) {
	cert, key := o.get("TLS_CERTFILE"), o.get("TLS_PRIVATE_KEYFILE")
	if cert == "" {
		return pairFiles{}, errors.New("TLS_CERTFILE is not set")
	}
	if key == "" {
		key = cert
	}
	return pairFiles{cert, key}, nil
}

// defaultFiles are the files for a client that names no server we have: TLS_CERTFILE.ADDRESS when there is one for the
// address the client connected to, else TLS_CERTFILE.
func (o *Options) defaultFiles() (pairFiles, error) {
	base, err := o.baseFiles()
	if err != nil {
		return base, err
	}
	if own, ok := base.suffixed(addressSuffix(o.LocalIP)); ok {
		return own, nil
	}
	return base, nil
}

// suffixed returns the pair whose names end in ".suffix", if its certificate file is there. Cert and key have the same
// suffix, as Courier's documentation of TLS_PRIVATE_KEYFILE says.
func (p pairFiles) suffixed(suffix string) (pairFiles, bool) {
	if suffix == "" {
		return p, false
	}
	own := pairFiles{p.cert + "." + suffix, p.key + "." + suffix}
	_, err := os.Stat(own.cert)
	return own, err == nil || !errors.Is(err, fs.ErrNotExist)
}

// addressSuffix is ip as couriertls spells it in file names: IPv4 without the ::ffff: of couriertcpd.
func addressSuffix(ip string) string {
	a, err := netip.ParseAddr(ip)
	if err != nil {
		return ""
	}
	return a.Unmap().WithZone("").String()
}

// nameSuffix is a server name of a ClientHello in the form that is safe to be part of a file name, else "".
// Names of files are lower case; host names are compared without case.
func nameSuffix(name string) string {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	if len(name) > 253 || strings.HasPrefix(name, ".") || strings.Contains(name, "..") {
		return ""
	}
	for _, r := range name {
		if (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '.' && r != '_' {
			return ""
		}
	}
	return name
}

// certStore finds the certificate for a ClientHello, reading as late as possible: one handshake, one key.
type certStore struct {
	opts Options
	base pairFiles
	def  pairText
}

func (s *certStore) loadDefault() (err error) {
	if s.base, err = s.opts.baseFiles(); err != nil {
		return err
	}
	s.def, err = s.opts.defaultPair()
	return err
}

// get is tls.Config.GetCertificate. A file for the server name that is there but can not be used is reported, and the
// default serves.
func (s *certStore) get(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if own, ok := s.base.suffixed(nameSuffix(hello.ServerName)); ok {
		text, err := own.read()
		if err == nil {
			var cert *tls.Certificate
			if cert, err = s.load(text); err == nil {
				return cert, nil
			}
		}
		s.opts.warn("no TLS certificate for %q: %v", hello.ServerName, err)
	}
	return s.load(s.def)
}

func (s *certStore) load(text pairText) (*tls.Certificate, error) {
	if text.open != "" {
		s.opts.warn("%s holds a private key and can be read by everybody", text.open)
	}
	pair, leaf, err := parsePair(text.cert, text.key)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", text.files, err)
	}
	if now := s.opts.now(); now.After(leaf.NotAfter) {
		s.opts.warn("%s: the certificate expired on %s", text.files.cert, leaf.NotAfter.Format("2006-01-02 15:04:05 MST"))
	}
	return pair, nil
}

// Pair makes a certificate of the PEM texts of a chain and of its private key, which may be one and the same.
func Pair(certPEM, keyPEM []byte) (*tls.Certificate, error) {
	pair, _, err := parsePair(certPEM, keyPEM)
	return pair, err
}
