package frontend

import "context"

// Login takes a client's credentials to the auth module and, when the account lives elsewhere, logs in to its mailhost.
// tag is the IMAP tag, empty for POP3. The error is ErrRefused, ErrTemporary or ErrEnd, by then logged and, but for
// ErrEnd, delayed by Config.FailDelay.
func (s *Session) Login(ctx context.Context, c *Credentials, tag string) (*Outcome, error) {
	return nil, ErrTemporary
}
