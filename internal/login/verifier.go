package login

import (
	"mailproxy/authlib"
	"mailproxy/internal/config"
)

// Where the mailhost verifies the password (PROXY_VERIFY=MAILHOST, or the account's option verify), the
// account database is asked only where the account lives, and need not know its password. The client's
// credentials are sent to the mailhost, and the login succeeds only if the mailhost accepts them.

// maySend says whether such an account can be sent to its mailhost with these credentials; why not is
// logged.
func (s *Session) maySend(c *Credentials, account *authlib.Account) error {
	switch {
	case c.Token != "": // which the mailhost verifies in any case, and with which no master user logs in
		return nil
	case s.Config.MasterUser != "": // whose password would let everybody in
		s.logBadVerifier(account.Address, "PROXY_MASTER_USER is set")
		return ErrTemporary
	case c.External || c.Type != authlib.AuthLogin || c.Password == "":
		s.logNoSecret(c, account.Address)
		return &DeniedError{Code: s.service.Protocol.Codes.Broken}
	}
	return nil
}

// notHere refuses such an account where it is here: nobody has verified its password. With PROXY_LOCAL too:
// the program there reads the same option and refuses it likewise, and were it set up otherwise, it would let
// somebody in whom the account's mailhost has not seen.
func (s *Session) notHere(account *authlib.Account) error {
	s.logBadVerifier(account.Address, "the account is here")
	return &DeniedError{Code: s.service.Protocol.Codes.Broken}
}

// isByMailhost says whether the mailhost verifies an account's password.
func (s *Service) isByMailhost(account *authlib.Account) (bool, error) {
	o, err := s.AccountOptions(account)
	return o.Verifier == config.VerifierMailhost, err
}
