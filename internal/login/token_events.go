package login

import (
	"mailproxy/authlib/sasl"
	"mailproxy/internal/mailhost"
	"mailproxy/internal/text"
)

// What there is to say of tokens.

// logNoName: not a LOGIN FAILED, as no token was looked at.
func (s *Session) logNoName(c *Credentials) {
	what := "a= in the GS2 header"
	if c.Mechanism == "XOAUTH2" {
		what = "user="
	}
	s.Log.Always().Infof("LOGIN REFUSED, method=%s, %s: %v (%s)",
		text.Field(c.Mechanism), s.Where(), sasl.ErrNoName, what)
}

// logTokenHere: not a LOGIN FAILED, as no token was looked at.
func (s *Session) logTokenHere(c *Credentials, address string) {
	s.Log.Always().Warnf("LOGIN REFUSED, user=%s, method=%s, %s: "+
		"the account is here, and only mailhosts take tokens",
		text.Field(address), text.Field(c.Mechanism), s.Where())
}

// logTokenRefused: not a LOGIN FAILED, as clients cannot know that a token has expired.
func (s *Session) logTokenRefused(m *mailhost.Conn, r *RejectedError) {
	s.Log.Always().Infof("LOGIN REFUSED, user=%s, method=%s, %s: %s, address=%s, refuses the token: %s",
		text.Field(m.Account()), text.Field(m.Mechanism), s.Where(), m.Host, m.Addr,
		text.Field(m.Redact(r.Answer.Text)))
}

// logTokenNotOffered: clients are promised what the account's mailhost does not have.
func (s *Session) logTokenNotOffered(m *mailhost.Conn, e *NotOfferedError) {
	s.attempt.failed(m, mailhost.StepLogin)
	s.Log.Always().Warnf("LOGIN REFUSED, user=%s, method=%s, %s: %s, address=%s, does not offer it: %s",
		text.Field(m.Account()), text.Field(m.Mechanism), s.Where(), m.Host, m.Addr, e.Why)
}
