package tlsconf

import (
	"bytes"
	"cmp"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"time"
)

// candidate is one of the certificates that a client may get.
type candidate struct {
	files files
	leaf  *x509.Certificate
	// load returns the certificate with its private key. It parses the key, so it is called for the
	// candidate that is chosen alone, where each connection has a process of its own.
	load func() (*tls.Certificate, error)
}

// isLike says whether a certificate is for the same clients as another one: the same names, the same kind of
// key.
func (c candidate) isLike(other candidate) bool {
	return goodFor(c.leaf) == goodFor(other.leaf) && cost(c.leaf) == cost(other.leaf)
}

// problem is a certificate that cannot be used.
type problem struct {
	files files
	err   error
}

// Error names the file.
func (p problem) Error() string {
	if _, ok := errors.AsType[*fs.PathError](p.err); ok {
		return p.err.Error()
	}
	return p.files.String() + ": " + p.err.Error()
}

func (p problem) Unwrap() error { return p.err }

// oneError is all that is wrong in one error; nil when there is nothing.
func oneError(bad []problem) error {
	var err error
	for _, p := range bad {
		if err == nil {
			err = p
		} else {
			err = fmt.Errorf("%w; %w", err, p)
		}
	}
	return err
}

// candidates finds the certificates in the files. A file with one private key holds one certificate, the
// first one, and its chain. If there are more keys, the first certificate needs its own among them, and so
// does every other certificate that is not an authority's.
func (t *pemText) candidates() (found []candidate, bad []problem) {
	leaf, blocks, keys, err := t.check()
	if err != nil {
		return nil, []problem{{t.files, err}}
	}
	if len(keys) == 1 {
		return []candidate{{t.files, leaf, t.pair}}, nil
	}
	var certs []*x509.Certificate
	for n, block := range blocks {
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			bad = append(bad, problem{t.files, fmt.Errorf("certificate %d: %w", n+1, err)})
			continue
		}
		certs = append(certs, cert)
	}
	for n, cert := range certs {
		if n > 0 && isAuthority(cert, certs) {
			continue
		}
		chain := chainOf(n, certs)
		found = append(found, candidate{t.files, cert, func() (*tls.Certificate, error) {
			key, err := keyOf(cert, keys)
			if err != nil {
				return nil, fmt.Errorf("certificate %d, for %s: %w", n+1, goodFor(cert), err)
			}
			return &tls.Certificate{Certificate: chain, PrivateKey: key, Leaf: cert}, nil
		}})
	}
	return found, bad
}

// isAuthority says whether a certificate is there because of others: it signs one of them, or can do nothing
// but sign. One that is signed with its own key may be a server's.
func isAuthority(cert *x509.Certificate, all []*x509.Certificate) bool {
	if cert.IsCA && !bytes.Equal(cert.RawSubject, cert.RawIssuer) {
		return true
	}
	return slices.ContainsFunc(all, func(other *x509.Certificate) bool {
		return !other.Equal(cert) && signs(cert, other)
	})
}

// signs says whether one certificate is the issuer of another, by name and, where both say so, by key.
func signs(issuer, cert *x509.Certificate) bool {
	return bytes.Equal(issuer.RawSubject, cert.RawIssuer) && issuer.IsCA &&
		(len(issuer.SubjectKeyId) == 0 || len(cert.AuthorityKeyId) == 0 ||
			bytes.Equal(issuer.SubjectKeyId, cert.AuthorityKeyId))
}

// chainOf is certificate n with those of its authorities that the file holds, in the order in which clients
// want them; the next one is looked for after the certificate first.
func chainOf(n int, all []*x509.Certificate) (chain [][]byte) {
	left := slices.Concat(all[n+1:], all[:n])
	for cert := all[n]; cert != nil; {
		chain = append(chain, cert.Raw)
		i := slices.IndexFunc(left, func(c *x509.Certificate) bool { return signs(c, cert) })
		if i < 0 {
			break
		}
		cert = left[i]
		left = slices.Delete(left, i, i+1)
	}
	return chain
}

// keyOf finds the private key of a certificate. Keys of another kind are not parsed.
func keyOf(cert *x509.Certificate, keys []*pem.Block) (crypto.Signer, error) {
	encrypted := false
	_, isRSA := cert.PublicKey.(*rsa.PublicKey)
	for _, block := range keys {
		if isEncrypted(block) {
			encrypted = true
			continue
		}
		if isRSAKey(block) != isRSA {
			continue
		}
		if key, err := parseKey(block.Bytes); err == nil && belongs(key, cert) {
			return key, nil
		}
	}
	if encrypted {
		return nil, errEncrypted
	}
	return nil, fmt.Errorf("%w, nor does any other in the file", errMismatch)
}

// inOrder sorts candidates by what they cost to sign with: ECDSA, Ed25519, RSA. Those that have expired come
// last.
func inOrder(found []candidate, now time.Time) {
	slices.SortStableFunc(found, func(a, b candidate) int {
		return cmp.Or(
			cmp.Compare(btoi(now.After(a.leaf.NotAfter)), btoi(now.After(b.leaf.NotAfter))),
			cmp.Compare(cost(a.leaf), cost(b.leaf)))
	})
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

func cost(leaf *x509.Certificate) int {
	switch leaf.PublicKey.(type) {
	case *ecdsa.PublicKey:
		return 0
	case ed25519.PublicKey:
		return 1
	default:
		return 2
	}
}

// choose returns the certificate for a client: of those that its signature algorithms, its version of TLS and
// the ciphers allow, one for the name that it asks for, then the one that costs least. found is inOrder.
// Where one does not load the next one is taken, and its problem is among bad; cert is nil when none does.
func choose(
	hello *tls.ClientHelloInfo, found []candidate,
) (cert *tls.Certificate, of candidate, bad []problem) {
	for _, c := range ranked(hello, found) {
		cert, err := c.load()
		if err == nil {
			return cert, c, bad
		}
		bad = append(bad, problem{c.files, err})
	}
	return nil, candidate{}, bad
}

// ranked puts the candidates that suit a client in front.
func ranked(hello *tls.ClientHelloInfo, found []candidate) []candidate {
	if len(found) < 2 {
		return found
	}
	nameless := *hello // whether the name is the certificate's is another question
	nameless.ServerName = ""
	rank := make(map[*x509.Certificate]int, len(found))
	for _, c := range found {
		public := &tls.Certificate{PrivateKey: publicOnly{c.leaf.PublicKey}, Leaf: c.leaf}
		if nameless.SupportsCertificate(public) != nil {
			rank[c.leaf] += 2
		}
		if hello.ServerName != "" && c.leaf.VerifyHostname(hello.ServerName) != nil {
			rank[c.leaf]++
		}
	}
	found = slices.Clone(found)
	slices.SortStableFunc(found, func(a, b candidate) int { return cmp.Compare(rank[a.leaf], rank[b.leaf]) })
	return found
}

// publicOnly stands for a private key that is not parsed yet.
type publicOnly struct{ key crypto.PublicKey }

var errPublicOnly = errors.New("not a private key")

func (p publicOnly) Public() crypto.PublicKey { return p.key }

func (publicOnly) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return nil, errPublicOnly
}

func (publicOnly) Decrypt(io.Reader, []byte, crypto.DecrypterOpts) ([]byte, error) {
	return nil, errPublicOnly
}

// keyKind is the kind of a certificate's key: "ECDSA P-256", "RSA-2048".
func keyKind(leaf *x509.Certificate) string {
	switch key := leaf.PublicKey.(type) {
	case *ecdsa.PublicKey:
		return "ECDSA " + key.Curve.Params().Name
	case *rsa.PublicKey:
		return fmt.Sprintf("RSA-%d", key.N.BitLen())
	default:
		return strings.ToUpper(leaf.PublicKeyAlgorithm.String()[:1]) + leaf.PublicKeyAlgorithm.String()[1:]
	}
}
