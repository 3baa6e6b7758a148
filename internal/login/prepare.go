package login

import (
	"errors"

	"mailproxy/authlib"
	"mailproxy/internal/config"
	"mailproxy/internal/launch"
	"mailproxy/internal/mailhost"
)

// Prepare gives m what logs an account in at a mailhost, for Protocol.Visit. account is what the auth module
// has answered to password, which counts where the mailhost verifies it; with PROXY_MASTER_USER none is
// needed. What is wrong with the account is a line in m.Log.
func (s *Service) Prepare(m *mailhost.Conn, account *authlib.Account, password string) error {
	o, err := s.AccountOptions(account)
	switch {
	case err != nil:
		return err
	case o.Verifier == config.VerifierMailhost && s.Config.MasterUser != "":
		return errors.New("the master user may not log in for an account whose mailhost verifies the password")
	}
	session := s.NewSession(launch.Peer{}, nil, m.Log)
	c := Password("", password)
	c.Tag = "check"
	t, err := session.template(c, admitted{account, o})
	if err != nil {
		return err
	}
	m.Tag, m.Name, m.Hops = t.Tag, t.Name, t.Hops
	m.User, m.Password, m.Authzid, m.Unverified = t.User, t.Password, t.Authzid, t.Unverified
	return nil
}
