package frontend

// ExecLocal becomes the account's user and the local server. It returns only when that failed: ErrHome (end the session
// with a temporary failure), ErrRefused (uid 0) or ErrTemporary. extraEnv are further NAME=value entries (UTF8=1).
func (s *Session) ExecLocal(o *Outcome, tag string, extraEnv ...string) error { return ErrTemporary }
