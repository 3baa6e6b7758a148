package check

import (
	"time"

	"mailproxy/authlib"
	"mailproxy/internal/config"
	"mailproxy/internal/login"
)

// options says what the account's options change of its logins. ok is false when no login can succeed.
func (c *check) options(account *authlib.Account) (o login.AccountOptions, ok bool) {
	r, s := c.report, c.server
	o, err := s.Login.AccountOptions(account)
	if err != nil {
		r.fail("auth", "%v: such logins fail for the time being", err)
		return o, false
	}
	if o.User != "" {
		r.info("auth", "option mailhostuser: the account's name at its mailhost is %q", o.User)
	}
	if o.TLS != s.Config.Mailhost.Mode {
		r.info("auth", "option mailhosttls=%s takes the place of PROXY_TLS=%s", o.TLS, s.Config.Mailhost.Mode)
	}
	if o.Hold > 0 {
		r.warn("auth", "option hold=%d: logins wait until the account is no longer held, at most that many seconds",
			o.Hold/time.Second)
	}
	if o.Verifier != s.Config.Verifier {
		r.info("auth", "option verify=%s takes the place of PROXY_VERIFY=%s", o.Verifier, s.Config.Verifier)
	}
	switch {
	case o.Verifier != config.VerifierMailhost:
		return o, true
	case s.Config.MasterUser != "":
		r.fail("auth",
			"option verify=mailhost does not go with PROXY_MASTER_USER: such logins fail for the time being")
		return o, false
	}
	r.info("auth",
		"the mailhost verifies the password: CRAM, SCRAM, EXTERNAL and accounts that are here are refused")
	return o, true
}
