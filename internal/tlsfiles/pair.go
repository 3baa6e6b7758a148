package tlsfiles

import (
	"errors"
	"net/netip"
	"strings"

	"golang.org/x/sys/unix"

	"mailproxy/internal/smallfile"
)

// Pair names the file with a certificate chain and the one with its private key; both may be the same.
type Pair struct{ Cert, Key string }

// Text is what the files of a Pair hold.
type Text struct {
	Files     Pair
	Cert, Key []byte
	Open      string // name of the key's file when everybody may read it
}

func (p Pair) String() string {
	if p.Cert == p.Key {
		return p.Cert
	}
	return p.Cert + ", " + p.Key
}

// Read reads both files.
func (p Pair) Read() (Text, error) {
	text := Text{Files: p}
	cert, mode, err := smallfile.Read(p.Cert, MaxCert)
	if err != nil {
		return text, err
	}
	text.Cert, text.Key = cert, cert
	if p.Key != p.Cert {
		if text.Key, mode, err = smallfile.Read(p.Key, MaxCert); err != nil {
			return text, err
		}
	}
	if mode&everybody != 0 {
		text.Open = p.Key
	}
	return text, nil
}

// everybody may read a file of this mode.
const everybody = 0o004

// Base are TLS_CERTFILE and TLS_PRIVATE_KEYFILE.
func (o *Options) Base() (Pair, error) {
	cert, key := o.get("TLS_CERTFILE"), o.get("TLS_PRIVATE_KEYFILE")
	if cert == "" {
		return Pair{}, errors.New("TLS_CERTFILE is not set")
	}
	if key == "" {
		key = cert
	}
	return Pair{cert, key}, nil
}

// Default are the files for a client that names no server we have: TLS_CERTFILE.ADDRESS when there is one for the
// address the client connected to, else TLS_CERTFILE.
func (o *Options) Default() (Pair, error) {
	base, err := o.Base()
	if err != nil {
		return base, err
	}
	if own, ok := base.suffixed(addressSuffix(o.LocalIP)); ok {
		return own, nil
	}
	return base, nil
}

// ForName are the files for the server that a client names in its ClientHello, if there are any: TLS_CERTFILE.NAME.
func (o *Options) ForName(server string) (Pair, bool) {
	base, err := o.Base()
	if err != nil {
		return base, false
	}
	return base.suffixed(nameSuffix(server))
}

// suffixed returns the pair whose names end in ".suffix", if its certificate file is there. Cert and key have the same
// suffix, as Courier's documentation of TLS_PRIVATE_KEYFILE says.
func (p Pair) suffixed(suffix string) (Pair, bool) {
	if suffix == "" {
		return p, false
	}
	own := Pair{p.Cert + "." + suffix, p.Key + "." + suffix}
	// What is there but can not be read is not passed over in silence.
	var st unix.Stat_t
	return own, unix.Stat(own.Cert, &st) != unix.ENOENT
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
