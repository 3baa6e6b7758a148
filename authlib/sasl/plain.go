package sasl

import (
	"bytes"
	"fmt"

	"mailproxy/authlib"
	"mailproxy/internal/text"
)

// plain is RFC 4616: one message, authzid NUL authcid NUL password.
type plain struct{ learned }

func newPlain(string, Options) (exchange, error) { return &plain{}, nil }

func (p *plain) Next(response []byte) ([]byte, bool, error) {
	if response == nil {
		return []byte{}, false, nil
	}
	parts := bytes.Split(response, []byte{0})
	if len(parts) != 3 {
		return nil, false, ErrMalformed
	}
	authzid, user, password := string(parts[0]), string(parts[1]), string(parts[2])
	if err := Check(user, password); err != nil {
		return nil, false, err
	}
	// Nobody here may act for somebody else (RFC 4616 section 2: the server decides). To log the client in
	// under its own name instead would show one user's mail under another's name.
	if authzid != "" && authzid != user {
		return nil, false, fmt.Errorf("%w: authorization identity differs from the user", ErrMalformed)
	}
	p.cred = Credentials{Mechanism: "PLAIN", Type: authlib.AuthLogin, User: user, Password: password}
	return nil, true, nil
}

// PlainResponse returns the client's side of PLAIN: log in as user with password, act for authzid (empty =
// for itself). It fails with ErrMalformed on what [Check] refuses, in authzid as well.
func PlainResponse(authzid, user, password string) ([]byte, error) {
	if err := Check(user, password); err != nil {
		return nil, err
	}
	if len(authzid) > MaxUser || !text.PlainName(authzid) {
		return nil, ErrMalformed
	}
	return []byte(authzid + "\x00" + user + "\x00" + password), nil
}
