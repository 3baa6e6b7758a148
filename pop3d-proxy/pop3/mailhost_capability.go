package pop3

import (
	"errors"
	"slices"
	"strings"

	"mailproxy/internal/mailhost"
)

// askCapability asks a mailhost what it can do (RFC 2449 section 5), upper-case lines. It is asked only when
// the answer decides something: before AUTH, and when USER was refused. A mailhost that does not understand
// the question has said nothing.
func (u *upstream) askCapability() error {
	r, err := u.command("CAPA")
	if err != nil || r.status != statusOK {
		return err
	}
	list := []string{}
	for len(list) < maxCapabilities {
		text, err := u.line()
		if err != nil {
			return err
		}
		if text == "." {
			u.capabilities = list
			return nil
		}
		list = append(list, strings.ToUpper(text))
	}
	return errors.New("mailhost lists capabilities without end")
}

// method decides by which commands the user's name and password go.
func (u *upstream) method() (send func() (response, error), err error) {
	if u.m.Token == "" && u.m.Authzid == "" {
		return u.sendLogin, nil
	}
	u.Step = mailhost.StepLogin
	if err := u.askCapability(); err != nil {
		return nil, err
	}
	if u.m.Token != "" {
		return u.tokenMethod()
	}
	return u.sendPlain, nil
}

// withoutUser goes on when r has refused USER. Nothing secret has been sent so far. A mailhost that lists
// USER among its capabilities, or gives a reason of its own, has refused the name; one that does not takes no
// plain passwords, or none on this connection.
func (u *upstream) withoutUser(r response) (response, error) {
	if r.code != "" && r.code != "AUTH" {
		return r, nil
	}
	if err := u.askCapability(); err != nil {
		return response{}, err
	}
	list := u.capabilities
	switch {
	case list == nil || hasCapability(list, "USER"):
		return r, nil
	case !u.m.TLS && hasCapability(list, "STLS"): // whatever SASL says
		return response{}, errors.New("mailhost takes no password before STLS: " +
			"PROXY_TLS=STARTTLS encrypts the connection")
	case hasMechanism(list, "PLAIN"):
		return u.sendPlain()
	case !u.m.TLS:
		return response{}, errors.New("mailhost takes neither USER nor AUTH PLAIN on this connection, " +
			"which PROXY_TLS does not encrypt")
	}
	return response{}, errors.New("mailhost takes neither USER nor AUTH PLAIN")
}

// hasCapability says whether a capability list holds a name.
func hasCapability(list []string, name string) bool {
	return slices.ContainsFunc(list, func(entry string) bool {
		word, _, _ := strings.Cut(entry, " ")
		return word == name
	})
}

// hasMechanism says whether a capability list holds a SASL mechanism.
func hasMechanism(list []string, mechanism string) bool {
	return slices.ContainsFunc(list, func(entry string) bool {
		words := strings.Fields(entry)
		return len(words) > 0 && words[0] == "SASL" && slices.Contains(words[1:], mechanism)
	})
}
