package login

import (
	"context"
	"slices"
	"strings"

	"mailproxy/authlib"
	"mailproxy/authlib/sasl"
)

// Exchange holds a SASL exchange with the client: initial is what follows the mechanism in its command, see
// sasl.Converse, which also says what the errors are; listed are the mechanisms that the settings name.
// Whatever the mechanism makes of the client's words is in the credentials, for Login.
func (s *Session) Exchange(
	ctx context.Context, client sasl.Client, mechanism, initial string, listed []string,
) (*Credentials, error) {
	ctx, cancel := s.limited(ctx)
	defer cancel()
	o := s.saslOptions(ctx, listed)
	var err error
	if o.Hostname, err = s.service.System.Hostname(); err != nil {
		o.Hostname = "localhost" // it only stands in challenges
	}
	c, err := sasl.Converse(client, mechanism, initial, o)
	if err != nil {
		return nil, err
	}
	// What a mechanism has against the client's words is told by Login, as after a wrong password: counted,
	// logged and delayed, so that guessing is no cheaper this way.
	return &Credentials{Credentials: *c, bySASL: true, offered: slices.Contains(o.Listed, c.Mechanism)}, nil
}

// Mechanisms returns the mechanisms of a list that a client can use on the connection as it is, in upper
// case, in order and without duplicates.
func (s *Session) Mechanisms(listed []string) []string {
	o := s.saslOptions(context.Background(), listed)
	var names []string
	for _, name := range o.Listed {
		if sasl.Known(name, o) && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// ExternalName is the login name that the client's certificate proves by way of TLS_EXTERNAL; "" when
// EXTERNAL is not to be offered.
func (s *Session) ExternalName() string {
	if !s.TLS {
		return ""
	}
	return s.Peer.TLS.External(s.Config.TLS.External)
}

// saslOptions are what the mechanisms need to know about the connection, except this host's name.
func (s *Session) saslOptions(ctx context.Context, listed []string) sasl.Options {
	o := sasl.Options{
		External: s.ExternalName(),
		Tokens:   s.TLS && s.Config.Proxy,
		SCRAM: &sasl.SCRAM{
			Account: func(user string) (*authlib.Account, error) {
				return s.lookUp(ctx, s.service.LoginName(user), false)
			},
			Secret:     func() ([]byte, error) { return SCRAMSecret(s.Config) },
			Iterations: s.Config.SCRAMIterations,
		},
	}
	for _, name := range listed {
		o.Listed = append(o.Listed, strings.ToUpper(name))
	}
	if s.Bindings != nil && slices.ContainsFunc(o.Listed, sasl.Binds) {
		o.Bindings = s.Bindings()
	}
	return o
}
