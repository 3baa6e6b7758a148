package login

import (
	"bytes"
	"context"
	"errors"
	"strings"

	"mailproxy/authlib"
	"mailproxy/authlib/sasl"
	"mailproxy/internal/text"
)

// authenticate asks the auth module. Names and passwords with control characters, or too long, are refused
// without asking, by whatever command they came: no account has them, and neither the auth module's protocol
// nor the mailhost's could carry them. So are empty ones: some databases take an empty password for an
// anonymous login (RFC 4513 section 5.1.2).
func (s *Session) authenticate(ctx context.Context, c *Credentials) (*authlib.Account, error) {
	user := s.service.LoginName(c.User)
	var account *authlib.Account
	var err error
	switch {
	case c.Err != nil:
		if c.User != "" { // else not even a name was understood
			s.attempt.name = user
		}
		if errors.Is(c.Err, sasl.ErrMalformed) {
			return nil, authlib.ErrRefused
		}
		return nil, c.Err
	case c.Account != nil:
		s.attempt.name = user
		account = c.Account
	case c.External || c.Token != "":
		if sasl.Check(c.User, "") != nil {
			return nil, authlib.ErrRefused
		}
		s.attempt.name = user
		account, err = s.lookUp(ctx, c.User)
	case c.Type == authlib.AuthLogin:
		if sasl.Check(c.User, c.Password) != nil || c.Password == "" {
			return nil, authlib.ErrRefused
		}
		s.attempt.name = user
		account, err = s.service.Auth.Authenticate(ctx, &authlib.AuthRequest{
			Service: s.authService(), Type: c.Type, User: user, Password: c.Password, RemoteIP: s.Peer.RemoteIP})
	default:
		name, digest, ok := cutLast(c.Response, ' ')
		if !ok || !text.PlainName(string(c.Response)) || len(name) == 0 {
			return nil, authlib.ErrRefused
		}
		// The digest covers the challenge alone (RFC 2195 section 2), so the name in front of it may be
		// completed.
		user = s.service.LoginName(string(name))
		s.attempt.name = user
		account, err = s.service.Auth.Authenticate(ctx, &authlib.AuthRequest{
			Service: s.authService(), Type: c.Type, Challenge: c.Challenge,
			Response: []byte(user + " " + string(digest)), RemoteIP: s.Peer.RemoteIP})
	}
	if err != nil {
		return nil, err
	}
	if account.Address == "" {
		named := *account
		named.Address = user
		account = &named
	}
	return account, nil
}

// lookUp asks the auth module for an account that proves itself in another way than to the module.
func (s *Session) lookUp(ctx context.Context, user string) (*authlib.Account, error) {
	return s.service.Auth.Lookup(ctx, &authlib.LookupRequest{
		Service: s.authService(), User: s.service.LoginName(user), RemoteIP: s.Peer.RemoteIP,
	})
}

// authService is what the auth module is asked for: AUTHSERVICE<port> by the port that the client connected
// to.
func (s *Session) authService() string {
	port := s.Peer.LocalPort
	if port == "" {
		port = s.service.Protocol.Port
	}
	if service := s.Config.AuthServices[port]; service != "" {
		return service
	}
	return s.service.Protocol.Service
}

// disabled returns the account's option that forbids this session, if any. A connection without TLS from the
// machine itself counts as insecure too, as in Courier. The error is for an option that is neither on nor
// off.
func (s *Session) disabled(account *authlib.Account) (string, error) {
	options := []string{"disable" + s.service.Protocol.Service}
	if !s.TLS {
		options = append(options, "disableinsecure"+s.service.Protocol.Service)
	}
	for _, option := range options {
		if on, err := account.Options.Switch(option); on || err != nil {
			return option, err
		}
	}
	return "", nil
}

// denied is what the client is told of an option that forbids the session.
func (s *Session) denied(option string) error {
	if strings.HasPrefix(option, "disableinsecure") {
		return &DeniedError{Code: s.service.Protocol.Codes.Private}
	}
	return &DeniedError{Code: s.service.Protocol.Codes.Broken}
}

func cutLast(b []byte, sep byte) (before, after []byte, found bool) {
	i := bytes.LastIndexByte(b, sep)
	if i < 0 {
		return b, nil, false
	}
	return b[:i], b[i+1:], true
}
