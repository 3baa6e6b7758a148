package login

import (
	"fmt"
	"strconv"
	"time"

	"mailproxy/authlib"
	"mailproxy/internal/config"
)

// AccountOptions are what an account's options say of its logins, besides mailhost and those that disable it.
type AccountOptions struct {
	// Verifier (verify=authlib|mailhost; PROXY_VERIFY) checks its passwords.
	Verifier config.Verifier
	// User (mailhostuser=) is its login name at its mailhost; empty = its address.
	User string
	// TLS (mailhosttls=NO|STARTTLS|YES; PROXY_TLS) is how the connection to its mailhost is encrypted.
	TLS config.Mode
	// Hold (hold=SECONDS, at most maxHold) is how long its logins wait for it to be no longer held; 0 = it is
	// not.
	Hold time.Duration
}

// AccountOptions reads an account's options. One without a value is as if it were not there. The error names
// an option whose value is not understood: nobody is to log in before it is mended.
func (s *Service) AccountOptions(account *authlib.Account) (AccountOptions, error) {
	o := AccountOptions{Verifier: s.Config.Verifier, TLS: s.Config.Mailhost.Mode}
	if text, _ := account.Options.Get("verify"); text != "" {
		v, err := config.ParseVerifier(text)
		if err != nil {
			return o, badOption("verify", text, err)
		}
		o.Verifier = v
	}
	if text, _ := account.Options.Get("mailhosttls"); text != "" {
		mode, err := config.ParseMode(text)
		if err != nil {
			return o, badOption("mailhosttls", text, err)
		}
		o.TLS = mode
	}
	if text, _ := account.Options.Get("hold"); text != "" {
		n, err := strconv.ParseUint(text, 10, 16)
		if err != nil || n > uint64(maxHold/time.Second) {
			err = fmt.Errorf("must be a number of seconds from 0 to %d", maxHold/time.Second)
			return o, badOption("hold", text, err)
		}
		o.Hold = time.Duration(n) * time.Second
	}
	o.User, _ = account.Options.Get("mailhostuser")
	return o, nil
}

// badOption says what is wrong with the value of an option.
func badOption(name, value string, err error) error {
	return fmt.Errorf("option %s=%.40q: %w", name, value, err)
}
