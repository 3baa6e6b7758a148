package tlsconf

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"

	"mailproxy/internal/tlsfiles"
)

var (
	errWrongKey = errors.New("the private key does not belong to the certificate")
	errKeyForm  = errors.New("the private key can not be parsed")
)

// blocks returns the certificates of certPEM and the first private key of keyPEM in DER, with its PEM type.
func blocks(certPEM, keyPEM []byte) (chain [][]byte, key []byte, keyType string, err error) {
	for block, rest := pem.Decode(certPEM); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "CERTIFICATE" {
			chain = append(chain, block.Bytes)
		}
	}
	if len(chain) == 0 {
		return nil, nil, "", tlsfiles.ErrNoCert
	}
	for block, rest := pem.Decode(keyPEM); block != nil; block, rest = pem.Decode(rest) {
		if !strings.HasSuffix(block.Type, "PRIVATE KEY") {
			continue
		}
		if block.Type == "ENCRYPTED PRIVATE KEY" || strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED") {
			return nil, nil, "", tlsfiles.ErrEncrypted
		}
		return chain, block.Bytes, block.Type, nil
	}
	return nil, nil, "", tlsfiles.ErrNoKey
}

// parsePair does what tls.X509KeyPair does. The leaf is returned beside the pair, not in it: nothing needs it there
// and an idle session should not keep it.
func parsePair(certPEM, keyPEM []byte) (*tls.Certificate, *x509.Certificate, error) {
	chain, der, keyType, err := blocks(certPEM, keyPEM)
	if err != nil {
		return nil, nil, err
	}
	leaf, err := x509.ParseCertificate(chain[0])
	if err != nil {
		return nil, nil, fmt.Errorf("certificate: %w", err)
	}
	key, err := parseKey(der, keyType)
	if err != nil {
		return nil, nil, err
	}
	pub, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool })
	if !ok || !pub.Equal(leaf.PublicKey) {
		return nil, nil, errWrongKey
	}
	return &tls.Certificate{Certificate: chain, PrivateKey: key}, leaf, nil
}

func parseKey(der []byte, keyType string) (crypto.Signer, error) {
	var key any
	var err error
	switch keyType {
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(der)
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(der)
	default:
		key, err = x509.ParsePKCS8PrivateKey(der)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errKeyForm, err)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, errKeyForm
	}
	return signer, nil
}

// checkPair is parsePair without its expensive part: an RSA key's numbers are compared, not verified.
func checkPair(certPEM, keyPEM []byte) error {
	chain, der, keyType, err := blocks(certPEM, keyPEM)
	if err != nil {
		return err
	}
	leaf, err := x509.ParseCertificate(chain[0])
	if err != nil {
		return fmt.Errorf("certificate: %w", err)
	}
	if keyType == "PRIVATE KEY" {
		var p8 struct {
			Version   int
			Algorithm asn1.RawValue
			Key       []byte
			Rest      asn1.RawValue `asn1:"optional"`
		}
		if _, err := asn1.Unmarshal(der, &p8); err != nil {
			return errKeyForm
		}
		der = p8.Key
	}
	switch pub := leaf.PublicKey.(type) {
	case *rsa.PublicKey:
		// RFC 8017 appendix A.1.2: SEQUENCE { version, modulus, ...
		fields, err := sequence(der)
		if err != nil || len(fields) < 9 || fields[1].Tag != asn1.TagInteger {
			return orWrongKey(err)
		}
		if !bytes.Equal(bytes.TrimLeft(fields[1].Bytes, "\x00"), pub.N.Bytes()) {
			return errWrongKey
		}
	case *ecdsa.PublicKey:
		// RFC 5915 section 3: SEQUENCE { 1, key, [0] curve OPTIONAL, [1] public key OPTIONAL }
		fields, err := sequence(der)
		if err != nil || len(fields) < 2 {
			return orWrongKey(err)
		}
		last := fields[len(fields)-1]
		want, err := pub.Bytes()
		if err == nil && last.Class == asn1.ClassContextSpecific && last.Tag == 1 && !bytes.HasSuffix(last.Bytes, want) {
			_, _, err := parsePair(certPEM, keyPEM) // the private number alone decides; what is written beside it may be wrong
			return err
		}
	default:
		_, _, err := parsePair(certPEM, keyPEM) // Ed25519: cheap
		return err
	}
	return nil
}

func orWrongKey(err error) error {
	if err != nil {
		return errKeyForm
	}
	return errWrongKey
}

// sequence returns the elements of an ASN.1 SEQUENCE.
func sequence(der []byte) (fields []asn1.RawValue, err error) {
	var seq asn1.RawValue
	if _, err := asn1.Unmarshal(der, &seq); err != nil {
		return nil, err
	}
	if seq.Tag != asn1.TagSequence || !seq.IsCompound {
		return nil, errKeyForm
	}
	for rest := seq.Bytes; len(rest) > 0; {
		var f asn1.RawValue
		if rest, err = asn1.Unmarshal(rest, &f); err != nil {
			return nil, err
		}
		fields = append(fields, f)
	}
	return fields, nil
}
