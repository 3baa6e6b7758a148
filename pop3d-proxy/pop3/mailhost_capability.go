package pop3

import (
	"errors"
	"slices"
	"strings"

	"mailproxy/internal/mailhost"
)

// capabilities asks a mailhost what it can do (RFC 2449 section 5), upper-case lines. It is asked only when
// the answer decides something: before AUTH, and when USER was refused. nil without an error: the mailhost
// does not tell.
func (u *upstream) capabilities(step mailhost.Step) ([]string, error) {
	err := u.command(step, "CAPA")
	if _, refused := errors.AsType[*refusal](err); refused {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	list := []string{}
	for len(list) < maxCapabilities {
		text, err := u.line()
		if err != nil {
			return nil, &mailhost.StepError{Step: step, Err: err}
		}
		if text == "." {
			return list, nil
		}
		list = append(list, strings.ToUpper(text))
	}
	return nil, &mailhost.StepError{Step: step, Err: errors.New("mailhost lists capabilities without end")}
}

// takesPlain says whether a list has the SASL mechanism PLAIN.
func takesPlain(list []string) bool { return takes(list, "PLAIN") }

func has(list []string, name string) bool {
	return slices.ContainsFunc(list, func(entry string) bool {
		word, _, _ := strings.Cut(entry, " ")
		return word == name
	})
}

// withoutUser goes on when USER has failed with err. Nothing secret has been sent so far. A mailhost that
// lists USER among its capabilities, or gives a reason of its own, has refused the name; one that does not
// takes no plain passwords, or none on this connection.
func (u *upstream) withoutUser(err error) error {
	r, refused := errors.AsType[*refusal](err)
	if !refused || r.code != "" && r.code != "AUTH" {
		return rejected(mailhost.StepUser, err)
	}
	list, cerr := u.capabilities(mailhost.StepUser)
	switch {
	case cerr != nil:
		return cerr
	case list == nil || has(list, "USER"):
		return rejected(mailhost.StepUser, err)
	case !u.m.TLS && has(list, "STLS"): // whatever SASL says
		err = errors.New("mailhost takes no password before STLS: PROXY_TLS=STARTTLS encrypts the connection")
	case takesPlain(list):
		return u.authPlain(true)
	case !u.m.TLS:
		err = errors.New("mailhost takes neither USER nor AUTH PLAIN on this connection, " +
			"which PROXY_TLS does not encrypt")
	default:
		err = errors.New("mailhost takes neither USER nor AUTH PLAIN")
	}
	return &mailhost.StepError{Step: mailhost.StepUser, Err: err}
}
