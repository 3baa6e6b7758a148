package login

import (
	"errors"

	"mailproxy/authlib"
	"mailproxy/authlib/sasl"
	"mailproxy/internal/mailhost"
)

// Credentials are what a client said about itself.
type Credentials struct {
	// Mechanism is "LOGIN" for the protocol's own command (IMAP LOGIN, POP3 USER and PASS), else the SASL
	// mechanism.
	sasl.Credentials
	// bySASL says that they came by AUTHENTICATE or AUTH: the failure line then names the mechanism instead of
	// the user.
	bySASL bool
	// offered says that the settings name the mechanism.
	offered bool
	// Tag is the IMAP tag of the client's command.
	Tag string
	// UTF8 says that a POP3 client has sent UTF8.
	UTF8 bool
	// Offered is the capability list that the client was shown.
	Offered string
	// ID is what an IMAP client has said of itself.
	ID []mailhost.IDField
}

// Password are the credentials of the protocol's own command.
func Password(user, password string) *Credentials {
	return &Credentials{Credentials: sasl.Credentials{
		Mechanism: "LOGIN", Type: authlib.AuthLogin, User: user, Password: password,
	}}
}

// tooLong says that the name or the password is longer than any account's: nobody is asked, and the log tells
// it apart.
func (c *Credentials) tooLong() bool {
	return errors.Is(c.Err, sasl.ErrTooLong) || len(c.User) > sasl.MaxUser || len(c.Password) > sasl.MaxPassword
}
