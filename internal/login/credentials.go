package login

import (
	"mailproxy/authlib"
	"mailproxy/internal/mailhost"
)

// Credentials are what a client said about itself.
type Credentials struct {
	// Mechanism is "LOGIN" for the protocol's own command (IMAP LOGIN, POP3 USER and PASS), else the SASL
	// mechanism.
	Mechanism string
	// sasl says that they came by AUTHENTICATE or AUTH: the failure line then names the mechanism instead of
	// the user.
	sasl bool
	// Type is the kind of proof.
	Type authlib.AuthType
	// User and Password are the proof of authlib.AuthLogin.
	User, Password string
	// challenge and response, decoded, are the proof of the CRAM types.
	challenge, response []byte
	// tooLong says that the name or the password is longer than any account's: nobody is asked, and the log
	// tells it apart.
	tooLong bool
	// external says that the certificate has proven User already (SASL EXTERNAL).
	external bool
	// token is the message of a mechanism in which the client shows a token, see sasl.Credentials: the mailhost
	// judges it.
	token string
	// account is whose proof the SASL exchange has verified already (SCRAM).
	account *authlib.Account
	// Err is why the SASL exchange has failed, see sasl.Credentials.
	Err error
	// UTF8 says that a POP3 client has sent UTF8.
	UTF8 bool
	// Offered is the capability list that the client was shown.
	Offered string
	// ID is what an IMAP client has said of itself.
	ID []mailhost.IDField
}
