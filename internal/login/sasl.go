package login

import (
	"errors"

	"mailproxy/authlib/sasl"
)

// Exchange holds a SASL exchange with the client: initial is what stands behind the mechanism in its command,
// see sasl.Converse, which also says what the errors are; o tells what the mechanisms have to know of the
// connection. Whatever the mechanism makes of the client's words is in the credentials, for Login.
func (s *Session) Exchange(
	client sasl.Client, mechanism, initial string, o sasl.Options,
) (*Credentials, error) {
	c, err := sasl.Converse(client, mechanism, initial, s.saslOptions(o))
	if err != nil {
		return nil, err
	}
	// A malformed response is a failed login like any other: counted, logged and delayed, so that guessing is
	// no cheaper this way. Credentials without a Type cannot be anybody's and are refused without asking.
	return &Credentials{
		Mechanism: c.Mechanism, SASL: true, Type: c.Type, TooLong: errors.Is(c.Err, sasl.ErrTooLong),
		User: c.User, Password: c.Password,
		Challenge: c.Challenge, Response: c.Response, External: c.External,
	}, nil
}

// saslOptions completes what the mechanisms are told.
func (s *Session) saslOptions(o sasl.Options) sasl.Options {
	hostname, err := s.service.System.Hostname()
	if err != nil {
		hostname = "localhost" // it only stands in challenges
	}
	o.Hostname = hostname
	return o
}
