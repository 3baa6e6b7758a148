package sasl

import "mailproxy/authlib"

// login asks for name and password one after the other: never standardised (draft-murchison-sasl-login), in
// wide use.
type login struct {
	learned
	user  string
	state int
}

const (
	loginStart = iota
	loginUser
	loginPassword
)

func newLogin(string, Options) (exchange, error) { return &login{}, nil }

// Next checks the name only when the password has come: a client that sent both at once must not see its
// password taken for a command.
func (l *login) Next(response []byte) ([]byte, bool, error) {
	if l.state == loginStart && response == nil {
		l.state = loginUser
		return []byte("Username:"), false, nil
	}
	if l.state != loginPassword {
		// An initial response is the name.
		if len(response) > MaxUser {
			response = response[:MaxUser+1] // too long already, no need to keep more
		}
		l.user, l.state = string(response), loginPassword
		return []byte("Password:"), false, nil
	}
	if err := Check(l.user, string(response)); err != nil {
		return nil, false, err
	}
	l.cred = Credentials{Mechanism: "LOGIN", Type: authlib.AuthLogin, User: l.user, Password: string(response)}
	return nil, true, nil
}
