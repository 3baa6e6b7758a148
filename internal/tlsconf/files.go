package tlsconf

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"golang.org/x/sys/unix"

	"mailproxy/internal/smallfile"
)

// maxCert bounds a file with certificate and key; a chain of RSA-8192 certificates is a tenth of it.
const maxCert = 256 << 10

// files names the file with a certificate chain and the one with its private key; both may be the same.
type files struct{ cert, key string }

func (f files) String() string {
	if f.cert == f.key {
		return f.cert
	}
	return f.cert + ", " + f.key
}

// read reads both files. An error names the setting.
func (f files) read() (pemText, error) {
	text := pemText{files: f}
	cert, mode, err := smallfile.Read(f.cert, maxCert)
	if err != nil {
		return text, fmt.Errorf("TLS_CERTFILE: %w", err)
	}
	text.cert, text.key = cert, cert
	if f.key != f.cert {
		if text.key, mode, err = smallfile.Read(f.key, maxCert); err != nil {
			return text, fmt.Errorf("TLS_PRIVATE_KEYFILE: %w", err)
		}
	}
	if mode&everybody != 0 {
		text.open = f.key
	}
	return text, nil
}

// everybody may read a file of this mode.
const everybody = 0o004

// fileList names the pairs of files of which a client gets one.
type fileList []files

func (l fileList) String() string {
	names := make([]string, len(l))
	for i, f := range l {
		names[i] = f.String()
	}
	return strings.Join(names, ", ")
}

// baseFiles are TLS_CERTFILE and TLS_PRIVATE_KEYFILE.
func (o *Options) baseFiles() (fileList, error) {
	if o.TLS.CertFile == "" {
		return nil, errors.New("TLS_CERTFILE is not set")
	}
	certs, keys, err := o.TLS.Files()
	if err != nil {
		return nil, err
	}
	var list fileList
	for i, cert := range certs {
		switch len(keys) {
		case 0:
			list = append(list, files{cert, cert})
		case 1:
			list = append(list, files{cert, keys[0]})
		default:
			list = append(list, files{cert, keys[i]})
		}
	}
	return list, nil
}

// defaultFiles are the files for a client that names no server we have: TLS_CERTFILE.ADDRESS when there is
// one for the address the client connected to, else TLS_CERTFILE.
func (o *Options) defaultFiles() (fileList, error) {
	base, err := o.baseFiles()
	if err != nil {
		return base, err
	}
	if own := base.suffixed(addressSuffix(o.LocalIP)); own != nil {
		return own, nil
	}
	return base, nil
}

// filesForName are the files for the server that a client names in its ClientHello, if there are any:
// TLS_CERTFILE.NAME.
func (o *Options) filesForName(server string) fileList {
	base, err := o.baseFiles()
	if err != nil {
		return nil
	}
	return base.suffixed(nameSuffix(server))
}

// suffixed returns the pairs whose names end in ".suffix" and whose certificate file is there; nil: there is
// none. Cert and key have the same suffix, as Courier's documentation of TLS_PRIVATE_KEYFILE says.
func (l fileList) suffixed(suffix string) (own fileList) {
	if suffix == "" {
		return nil
	}
	for _, f := range l {
		f = f.suffixed(suffix)
		// What is there but cannot be read is not passed over in silence.
		var st unix.Stat_t
		if unix.Stat(f.cert, &st) != unix.ENOENT {
			own = append(own, f)
		}
	}
	return own
}

func (f files) suffixed(suffix string) files {
	return files{f.cert + "." + suffix, f.key + "." + suffix}
}

// read finds the certificates in the files, in the order in which clients get them. The keys are not parsed.
func (l fileList) read(o *Options) (found []candidate, bad []problem) {
	for _, f := range l {
		text, err := f.read()
		if err != nil {
			bad = append(bad, problem{f, err})
			continue
		}
		if text.open != "" {
			o.warn("%s holds a private key and can be read by everybody", text.open)
		}
		some, wrong := text.candidates()
		found, bad = append(found, some...), append(bad, wrong...)
	}
	inOrder(found, o.now())
	return found, bad
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
