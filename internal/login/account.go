package login

import (
	"bytes"
	"context"
	"errors"
	"strings"

	"mailproxy/authlib"
	"mailproxy/authlib/sasl"
	"mailproxy/internal/config"
	"mailproxy/internal/text"
)

// authenticate asks the auth module for the account, and whether the client has proven to own it: it has not
// where the mailhost is to verify the password, and may not be let in by anybody else then. fresh asks past
// what the auth module remembers.
func (s *Session) authenticate(
	ctx context.Context, c *Credentials, fresh bool,
) (a *authlib.Account, proven bool, err error) {
	req, err := s.proof(c)
	if err != nil {
		return nil, false, err
	}
	req.Fresh = fresh
	if a, proven, err = s.ask(ctx, c, req); err != nil {
		return nil, false, err
	}
	if a.Address == "" {
		named := *a
		named.Address = s.attempt.name
		a = &named
	}
	return a, proven, nil
}

// proof makes the auth module's question of what a client has said. Names and passwords with control
// characters, or too long, are refused without asking, by whatever command they came: no account has them,
// and neither the auth module's protocol nor the mailhost's could carry them. So are empty ones: some
// databases take an empty password for an anonymous login (RFC 4513 section 5.1.2).
func (s *Session) proof(c *Credentials) (*authlib.AuthRequest, error) {
	req := &authlib.AuthRequest{Service: s.authService(), Type: c.Type, RemoteIP: s.Peer.RemoteIP}
	user := c.User
	switch {
	case c.Err != nil && user == "": // not even a name was understood
		return nil, ofExchange(c.Err)
	case c.Err != nil, c.Account != nil:
	case c.External, c.Token != "":
		if sasl.Check(c.User, "") != nil {
			return nil, authlib.ErrRefused
		}
	case c.Type == authlib.AuthLogin:
		if sasl.Check(c.User, c.Password) != nil || c.Password == "" {
			return nil, authlib.ErrRefused
		}
		req.User, req.Password = s.service.LoginName(user), c.Password
	default:
		name, digest, ok := cutLast(c.Response, ' ')
		if !ok || !text.PlainName(string(c.Response)) || len(name) == 0 {
			return nil, authlib.ErrRefused
		}
		// The name is not part of the digest (RFC 2195 section 2), so a default domain may be added.
		user = string(name)
		req.Challenge, req.Response = c.Challenge, []byte(s.service.LoginName(user)+" "+string(digest))
	}
	s.attempt.name = s.service.LoginName(user)
	return req, nil
}

// ofExchange is what the failure of a SASL exchange means for the login.
func ofExchange(err error) error {
	if errors.Is(err, sasl.ErrMalformed) {
		return authlib.ErrRefused
	}
	return err
}

// ask asks for an account with its proof, or without one where the SASL exchange, the certificate or the
// mailhost is the proof. The account's own option (verify=mailhost) may make the mailhost the proof: so where
// passwords are verified here, the account is looked up after its password was refused. A wrong password and
// an unknown name thus cost the same two questions.
func (s *Session) ask(
	ctx context.Context, c *Credentials, req *authlib.AuthRequest,
) (a *authlib.Account, proven bool, err error) {
	lookUp := func() (*authlib.Account, error) { return s.lookUp(ctx, s.attempt.name, req.Fresh) }
	switch {
	case c.Account != nil && !req.Fresh:
		return c.Account, true, nil
	case c.Account != nil: // the proof holds for what was stored then
		a, err = lookUp()
		was := c.Account
		if err == nil && (a.CryptPassword != was.CryptPassword || a.ClearPassword != was.ClearPassword) {
			err = authlib.ErrRefused
		}
		return a, true, err
	case c.Err != nil && !errors.Is(ofExchange(c.Err), authlib.ErrRefused):
		return nil, false, c.Err
	case c.External, c.Token != "": // a token goes to the mailhost and nowhere else
		a, err = lookUp()
		return a, true, err
	}
	if s.Config.Verifier == config.VerifierMailhost {
		if a, err = lookUp(); err != nil {
			return nil, false, err
		}
		if byMailhost, err := s.service.isByMailhost(a); byMailhost || err != nil {
			return a, false, nil // an option that is not understood is judged by the caller
		}
	}
	if err = ofExchange(c.Err); err == nil {
		a, err = s.service.Auth.Authenticate(ctx, req)
	}
	isWrong := errors.Is(err, authlib.ErrRefused) && !errors.Is(err, authlib.ErrExpired) &&
		!errors.Is(err, authlib.ErrLocked)
	if !isWrong || !s.Config.Proxy || s.Config.Verifier == config.VerifierMailhost {
		return a, true, err
	}
	known, lookErr := lookUp()
	switch {
	case errors.Is(lookErr, authlib.ErrRefused): // answered as a wrong password, or one too long, of an account
		return nil, false, err
	case lookErr != nil:
		return nil, false, lookErr
	}
	if byMailhost, optionErr := s.service.isByMailhost(known); byMailhost || optionErr != nil {
		return known, false, nil
	}
	return nil, false, err
}

// lookUp asks the auth module for an account that proves itself in another way than to the module. name is as
// the module knows it; fresh asks past what the module remembers.
func (s *Session) lookUp(ctx context.Context, name string, fresh bool) (*authlib.Account, error) {
	return s.service.Auth.Lookup(ctx, &authlib.LookupRequest{
		Service: s.authService(), User: name, RemoteIP: s.Peer.RemoteIP, Fresh: fresh,
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
