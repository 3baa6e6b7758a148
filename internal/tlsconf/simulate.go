package tlsconf

import (
	"cmp"
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"time"
)

// kinds are the clients that differ in what certificate they can use.
var kinds = []struct {
	name     string
	min, max uint16
	ciphers  []uint16
}{
	{"TLS 1.3", tls.VersionTLS13, tls.VersionTLS13, nil},
	{"TLS 1.2 with ECDSA", tls.VersionTLS12, tls.VersionTLS12, []uint16{
		tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
		tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
	}},
	{"TLS 1.2 with RSA only", tls.VersionTLS12, tls.VersionTLS12, []uint16{
		tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
		tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
	}},
}

// certificateByClient makes a handshake with each kind of client and says which certificate it gets.
func (i *inspection) certificateByClient(found []candidate, who string) string {
	quiet := i.o
	quiet.Warn = nil
	inOrder(found, i.o.now())
	var parts []string
	for _, kind := range kinds {
		cfg := quiet.serverPolicy()
		got := ""
		cfg.GetCertificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			cert, c, bad := choose(hello, found)
			if cert != nil {
				got = keyKind(c.leaf) + " of " + c.files.cert
			}
			return cert, oneError(bad)
		}
		client := &tls.Config{MinVersion: kind.min, MaxVersion: kind.max, CipherSuites: kind.ciphers}
		if err := try(cfg, client); err != nil {
			got = "none"
		}
		parts = append(parts, cmp.Or(got, "none")+" ("+kind.name+")")
	}
	return who + " get: " + strings.Join(parts, ", ")
}

// try makes a handshake within the process.
func try(server, client *tls.Config) error {
	ours, theirs := net.Pipe()
	defer ours.Close()
	limit := time.Now().Add(5 * time.Second)
	if err := errors.Join(ours.SetDeadline(limit), theirs.SetDeadline(limit)); err != nil {
		return err
	}
	server.SessionTicketsDisabled = true // they would be written to a pipe from which nobody reads any more
	client.InsecureSkipVerify = true
	client.NextProtos = server.NextProtos
	done := make(chan error, 1)
	go func() {
		defer theirs.Close()
		done <- tls.Client(theirs, client).Handshake()
	}()
	err := tls.Server(ours, server).Handshake()
	ours.Close()
	return errors.Join(err, <-done)
}
