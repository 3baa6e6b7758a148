// Package fronttls gives a front end TLS of its own. It stands apart from package frontend so that a program without it does
// not link crypto/tls, which would double the time it takes to start.
package fronttls

import (
	"context"

	"mailproxy/internal/inetd"
	"mailproxy/internal/tlsconf"
	"mailproxy/internal/tlsfiles"
)

// Encrypter is a frontend.Encrypter.
type Encrypter struct{}

// Accept implements frontend.Encrypter.
func (Encrypter) Accept(ctx context.Context, conn inetd.Conn, o tlsfiles.Options) (inetd.Conn, map[string]string, error) {
	server, err := tlsconf.NewServer(tlsconf.Options(o))
	if err != nil {
		return nil, nil, err
	}
	encrypted, err := server.Handshake(ctx, conn)
	if err != nil {
		return nil, nil, err
	}
	state := encrypted.ConnectionState()
	return encrypted, tlsconf.Variables(&state), nil
}

// Connect implements frontend.Encrypter.
func (Encrypter) Connect(ctx context.Context, conn inetd.Conn, o tlsfiles.Options, host string) (inetd.Conn, error) {
	config, err := tlsconf.NewClient(tlsconf.Options(o), host)
	if err != nil {
		return nil, err
	}
	encrypted, err := tlsconf.Connect(ctx, conn, config)
	if err != nil {
		return nil, err
	}
	return encrypted, nil
}
