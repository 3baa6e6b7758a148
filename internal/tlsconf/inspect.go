package tlsconf

import (
	"cmp"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"
)

// Grade is how bad a Finding is.
type Grade int

// The grades. GradeBroken: no client gets a certificate that it can use. GradeWarning: some do not, or soon
// nobody will.
const (
	GradeOK Grade = iota
	GradeWarning
	GradeBroken
)

// Finding is one thing that Inspect has to say.
type Finding struct {
	Grade Grade
	// Text names the file or the setting, and what to do.
	Text string
}

// expiresSoon is how long before its end a certificate is a GradeWarning.
const expiresSoon = 14 * 24 * time.Hour

// Inspect looks at everything that a handshake with a client needs, reading more than Check and changing
// nothing: the certificate, those for single names and addresses beside it, trusted certificates, ciphers.
// names are those that clients connect to.
func Inspect(o Options, names ...string) []Finding {
	i := &inspection{o: o}
	i.o.Warn = func(format string, a ...any) { i.add(GradeWarning, format, a...) }
	i.o.Memory = nil
	if err := i.o.clientCertificates(i.o.serverPolicy()); err != nil {
		i.add(GradeBroken, "%v", err)
	}
	base, err := i.o.baseFiles()
	if err != nil {
		i.add(GradeBroken, "%v: it names the file of certificate, chain and key", err)
		return i.found
	}
	def := i.list(base, GradeBroken, "", "clients")
	own := i.beside(base)
	for _, name := range names {
		leaves := def
		if other, ok := own[nameSuffix(name)]; ok {
			leaves = other
		}
		if len(leaves) > 0 && !slices.ContainsFunc(leaves, isGoodFor(name)) {
			i.add(GradeBroken, "no certificate is good for %s, to which clients connect: %s is for %s",
				name, base[0].cert, goodFor(leaves[0]))
		}
	}
	return i.found
}

func isGoodFor(name string) func(*x509.Certificate) bool {
	return func(leaf *x509.Certificate) bool { return leaf.VerifyHostname(name) == nil }
}

// inspection collects findings.
type inspection struct {
	o     Options
	found []Finding
}

func (i *inspection) add(g Grade, format string, a ...any) {
	i.found = append(i.found, Finding{g, fmt.Sprintf(format, a...)})
}

// list inspects the files from which each client gets one certificate. If one of several cannot be used, that
// is a warning; if none can, the grade is worst.
func (i *inspection) list(l fileList, worst Grade, then, who string) (leaves []*x509.Certificate) {
	var found []candidate
	one := len(l) == 1
	for _, f := range l {
		grade, after := worst, then
		if !one {
			grade, after = GradeWarning, ""
		}
		found = append(found, i.pair(f, grade, after)...)
	}
	for _, c := range found {
		leaves = append(leaves, c.leaf)
	}
	now := i.o.now()
	isGood := func(l *x509.Certificate) bool { return !now.Before(l.NotBefore) && !now.After(l.NotAfter) }
	switch {
	case len(found) == 0 && !one:
		i.add(worst, "none of the certificates of %s can be used%s", l, then)
	case len(found) > 1 && !slices.ContainsFunc(leaves, isGood):
		i.add(worst, "none of the certificates of %s is good today%s", l, then)
	case len(found) > 1:
		i.add(GradeOK, "%s", i.certificateByClient(found, who))
	}
	return leaves
}

// beside inspects the pairs for single names and addresses, and returns their certificates by name.
func (i *inspection) beside(base fileList) map[string][]*x509.Certificate {
	leaves := map[string][]*x509.Certificate{}
	for _, name := range i.suffixes(base) {
		var own fileList
		for _, f := range base.suffixed(name) {
			if st, err := os.Stat(f.cert); err != nil || !st.IsDir() {
				own = append(own, f)
			}
		}
		if len(own) == 0 {
			continue
		}
		if nameSuffix(name) != name && addressSuffix(name) != name {
			i.add(GradeWarning, "%s is never chosen: what follows %s must be a host name in lower case, or an address",
				own[0].cert, strings.TrimSuffix(own[0].cert, "."+name))
			continue
		}
		found := i.list(own, GradeWarning, fmt.Sprintf("; clients that ask for %s get %s", name, base),
			"clients that ask for "+name)
		if len(found) == 0 {
			continue
		}
		leaves[name] = found
		if !slices.ContainsFunc(found, isGoodFor(name)) {
			i.add(GradeWarning, "%s is what clients that ask for %s get, but it is for %s",
				own[0].cert, name, goodFor(found[0]))
		}
	}
	return leaves
}

// suffixes are the names and addresses that have files, sorted.
func (i *inspection) suffixes(base fileList) []string {
	found, err := base.suffixes()
	if err != nil {
		i.add(GradeWarning, "certificates for single names: %v", err)
	}
	// Host names of one label are rather .bak and .old.
	maps.DeleteFunc(found, func(name string, _ bool) bool { return !strings.ContainsAny(name, ".:") })
	return slices.Sorted(maps.Keys(found))
}

// pair inspects one pair of files. What makes it unusable has the grade worst, and then what follows from
// that. Returned are the certificates that can be used.
func (i *inspection) pair(f files, worst Grade, then string) (good []candidate) {
	text, err := f.read()
	if err == nil {
		err = text.form()
	}
	if err != nil {
		i.add(worst, "%v%s", err, then)
		return nil
	}
	if text.open != "" {
		i.add(GradeWarning, "%s holds a private key and can be read by everybody: chmod 600 %[1]s", text.open)
	}
	found, bad := text.candidates()
	for _, c := range found {
		if _, err := c.load(); err != nil {
			bad = append(bad, problem{f, err})
			continue
		}
		good = append(good, c)
	}
	for _, p := range bad {
		grade, after := worst, then
		if len(good) > 0 {
			grade, after = GradeWarning, ""
		}
		i.add(grade, "%s: %v%s%s", f, p.err, advice(f, p.err), after)
	}
	for _, c := range good {
		name := f.cert
		if len(good) > 1 {
			name, worst = fmt.Sprintf("%s (%s)", f.cert, keyKind(c.leaf)), GradeWarning
		}
		i.certificate(name, c.leaf, worst)
	}
	return good
}

// certificate inspects one that loads. name is its file.
func (i *inspection) certificate(name string, leaf *x509.Certificate, worst Grade) {
	i.lifetime(name, leaf, worst)
	if !slices.ContainsFunc(leaf.ExtKeyUsage, servesTLS) && len(leaf.ExtKeyUsage) > 0 {
		i.add(GradeWarning, "%s: the certificate is not for servers (its extended key usage lacks serverAuth)",
			name)
	}
	if len(leaf.DNSNames)+len(leaf.IPAddresses) == 0 {
		i.add(GradeWarning, "%s: the certificate has no alternative names (subjectAltName); clients "+
			"look at nothing else",
			name)
	}
}

func servesTLS(u x509.ExtKeyUsage) bool {
	return u == x509.ExtKeyUsageServerAuth || u == x509.ExtKeyUsageAny
}

// lifetime says until when a certificate is good.
func (i *inspection) lifetime(name string, leaf *x509.Certificate, worst Grade) {
	now := i.o.now()
	switch left := leaf.NotAfter.Sub(now); {
	case left < 0:
		i.add(worst, "%s: the certificate expired on %s: renew it", name, day(leaf.NotAfter))
	case now.Before(leaf.NotBefore):
		i.add(worst, "%s: the certificate is not good before %s: is the clock right?", name, day(leaf.NotBefore))
	case left < expiresSoon:
		i.add(GradeWarning, "%s: the certificate expires in %d days, on %s: renew it",
			name, int(left.Hours()/24), day(leaf.NotAfter))
	default:
		i.add(GradeOK, "%s: for %s until %s", name, goodFor(leaf), day(leaf.NotAfter))
	}
}

// goodFor lists the names of a certificate.
func goodFor(leaf *x509.Certificate) string {
	const most = 10
	names := slices.Clone(leaf.DNSNames)
	for _, ip := range leaf.IPAddresses {
		names = append(names, ip.String())
	}
	if len(names) > most {
		names = append(names[:most], fmt.Sprintf("%d more", len(names)-most))
	}
	return cmp.Or(strings.Join(names, ", "), "no name")
}

// form finds files that hold no PEM.
func (t *pemText) form() error {
	for _, file := range []struct {
		name    string
		content []byte
	}{{t.files.cert, t.cert}, {t.files.key, t.key}} {
		if block, _ := pem.Decode(file.content); block != nil || len(file.content) == 0 || file.content[0] != 0x30 {
			continue // PEM, or text that is none: check says what it lacks
		}
		// 0x30 begins a sequence of ASN.1.
		convert := ""
		if _, err := x509.ParseCertificate(file.content); err == nil {
			convert = "x509 -inform DER -in %[1]s -out %[1]s.pem"
		} else if _, err := parseKey(file.content); err == nil {
			convert = "pkey -inform DER -in %[1]s -out %[1]s.pem"
		} else {
			convert = "pkcs12 -nodes -in %[1]s -out %[1]s.pem"
		}
		return fmt.Errorf("%s is in binary form (DER), not PEM: openssl "+convert+" converts it", file.name)
	}
	return nil
}

// advice says what to do about an error of pemText.pair.
func advice(f files, err error) string {
	switch {
	case errors.Is(err, errEncrypted):
		return fmt.Sprintf(": openssl pkey -in %[1]s -out %[1]s.new writes it without", f.key)
	case errors.Is(err, errNoKey) && f.cert == f.key:
		return ": TLS_PRIVATE_KEYFILE names the file of the key, where TLS_CERTFILE does not hold it"
	case errors.Is(err, errNoKey), errors.Is(err, errNoCert):
		return ": TLS_CERTFILE must hold the certificate, followed by its chain, TLS_PRIVATE_KEYFILE the key"
	case err == errMismatch && f.cert == f.key:
		return ": the file must hold the two of one pair"
	case err == errMismatch:
		return ": TLS_CERTFILE and TLS_PRIVATE_KEYFILE must name the two of one pair"
	}
	return ""
}
