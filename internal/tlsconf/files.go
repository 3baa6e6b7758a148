package tlsconf

import (
	"errors"
	"net/netip"
	"strings"

	"golang.org/x/sys/unix"

	"mailproxy/internal/smallfile"
)

const (
	// maxCert bounds a file with certificate and key; a chain of RSA-8192 certificates is a tenth of it.
	maxCert = 256 << 10
	// maxTrust bounds one file of trusted certificates. Debian's bundle of all public authorities is 0.2 MiB.
	maxTrust = 4 << 20
)

// files names the file with a certificate chain and the one with its private key; both may be the same.
type files struct{ cert, key string }

// pemText is what the files hold.
type pemText struct {
	files     files
	cert, key []byte
	open      string // name of the key's file when everybody may read it
}

func (f files) String() string {
	if f.cert == f.key {
		return f.cert
	}
	return f.cert + ", " + f.key
}

// read reads both files.
func (f files) read() (pemText, error) {
	text := pemText{files: f}
	cert, mode, err := smallfile.Read(f.cert, maxCert)
	if err != nil {
		return text, err
	}
	text.cert, text.key = cert, cert
	if f.key != f.cert {
		if text.key, mode, err = smallfile.Read(f.key, maxCert); err != nil {
			return text, err
		}
	}
	if mode&everybody != 0 {
		text.open = f.key
	}
	return text, nil
}

// everybody may read a file of this mode.
const everybody = 0o004

// baseFiles are TLS_CERTFILE and TLS_PRIVATE_KEYFILE.
func (o *Options) baseFiles() (files, error) {
	cert, key := o.TLS.CertFile, o.TLS.KeyFile
	if cert == "" {
		return files{}, errors.New("TLS_CERTFILE is not set")
	}
	if key == "" {
		key = cert
	}
	return files{cert, key}, nil
}

// defaultFiles are the files for a client that names no server we have: TLS_CERTFILE.ADDRESS when there is
// one for the address the client connected to, else TLS_CERTFILE.
func (o *Options) defaultFiles() (files, error) {
	base, err := o.baseFiles()
	if err != nil {
		return base, err
	}
	if own, ok := base.suffixed(addressSuffix(o.LocalIP)); ok {
		return own, nil
	}
	return base, nil
}

// filesForName are the files for the server that a client names in its ClientHello, if there are any:
// TLS_CERTFILE.NAME.
func (o *Options) filesForName(server string) (files, bool) {
	base, err := o.baseFiles()
	if err != nil {
		return base, false
	}
	return base.suffixed(nameSuffix(server))
}

// suffixed returns the pair whose names end in ".suffix", if its certificate file is there. Cert and key
// have the same suffix, as Courier's documentation of TLS_PRIVATE_KEYFILE says.
func (f files) suffixed(suffix string) (files, bool) {
	if suffix == "" {
		return f, false
	}
	own := files{f.cert + "." + suffix, f.key + "." + suffix}
	// What is there but cannot be read is not passed over in silence.
	var st unix.Stat_t
	return own, unix.Stat(own.cert, &st) != unix.ENOENT
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
