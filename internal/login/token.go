package login

import (
	"errors"

	"mailproxy/authlib"
	"mailproxy/internal/mailhost"
)

// When a client sends a token (OAUTHBEARER, XOAUTH2), the auth module only says where the account lives, and
// the mailhost is sent the client's message. The login succeeds only if the mailhost accepts it. A refusal is
// not counted as a failed login: clients send expired tokens to learn that they have expired.

// tokenHere refuses a token for an account that is here: nobody here can tell whose it is.
func (s *Session) tokenHere(c *Credentials, account *authlib.Account) error {
	s.logTokenHere(c, account.Address)
	return &DeniedError{Code: s.service.Protocol.Codes.Broken}
}

// classifyTokenFailure is the part of classifyFailure that concerns tokens alone; nil = it is classified like
// any other login.
func (s *Session) classifyTokenFailure(m *mailhost.Conn, err error) error {
	if missing, ok := errors.AsType[*NotOfferedError](err); ok {
		s.logTokenNotOffered(m, missing)
		return &DeniedError{Code: s.service.Protocol.Codes.Broken}
	}
	rejected, ok := errors.AsType[*RejectedError](err)
	if !ok || !s.service.Protocol.Codes.refusesToken(rejected.Answer) {
		return nil
	}
	s.logTokenRefused(m, rejected)
	return &DeniedError{Code: s.service.Protocol.Codes.Wrong, Challenge: rejected.Answer.Challenge}
}

// refusesToken says whether an answer is about the token: the mailhost has said why in a challenge, or has no
// other reason.
func (c Codes) refusesToken(a Answer) bool {
	if a.Kind != No {
		return false
	}
	switch c.normal(a.Code) {
	case "", "AUTH", "AUTHENTICATIONFAILED", "AUTHORIZATIONFAILED", "EXPIRED":
		return true
	}
	return a.Challenge != ""
}
