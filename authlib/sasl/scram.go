package sasl

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"

	"mailproxy/authlib"
	"mailproxy/authlib/password"
	"mailproxy/authlib/scram"
)

var (
	// ErrBinding says that the client's TLS connection is not the one that ends here, or that the client was
	// not shown the mechanisms that are offered: somebody is in between, or the client is mistaken. No password
	// was looked at.
	ErrBinding = errors.New("the client sees another TLS connection, or other mechanisms, than are here " +
		"(channel binding)")
	// ErrNoKeys says that the account has no password in a form that the mechanism can use. No password was
	// looked at.
	ErrNoKeys = errors.New("the account has neither stored keys of this mechanism nor a clear password")
)

// SCRAM is what the SCRAM mechanisms (RFC 5802, RFC 7677) need.
type SCRAM struct {
	// Account looks an account up that is going to prove itself. The name is the client's. Errors are those of
	// an auth module; authlib.ErrRefused becomes an exchange like any other, whose proof is wrong.
	Account func(user string) (*authlib.Account, error)
	// Secret is what the salts of names without stored keys are made with: the same for all processes that
	// serve the same names.
	Secret func() ([]byte, error)
	// Iterations are those of names without stored keys.
	Iterations int
}

// Binding is a channel binding (RFC 5056): data that both ends of a TLS connection know, and that an attacker
// between two TLS connections cannot produce.
type Binding struct {
	// Type is "tls-exporter" (RFC 9266) or "tls-server-end-point" (RFC 5929).
	Type string
	Data []byte
}

// plus follows the name of a mechanism that asks for channel binding.
const plus = "-PLUS"

// Binds says whether a mechanism is one with channel binding. The name is in upper case.
func Binds(mechanism string) bool { return strings.HasSuffix(mechanism, plus) }

// Keys returns the keys that an account has for a SCRAM mechanism; nil = it has a clear password, or can log
// in by no mechanism at all. The error, ErrNoKeys for example, says why it cannot by this one.
func Keys(mechanism string, account *authlib.Account) (*scram.Keys, error) {
	s := &scramServer{hash: hashOf(mechanism)}
	if err := s.findKeys(account); err != nil || !s.stored {
		return nil, err
	}
	return &s.keys, nil
}

// hashOf is the hash of a SCRAM mechanism.
func hashOf(mechanism string) scram.Hash {
	if strings.TrimSuffix(mechanism, plus) == scram.SHA1().Name {
		return scram.SHA1()
	}
	return scram.SHA256()
}

// scramServer is the server's side of one exchange. The messages and proofs are package scram's; what an
// account is, and what a name without one looks like, are decided here.
//
// All names look alike: the salt of one that has no stored keys - there is no such account, or its password
// is known in clear - is a keyed hash of the name, so that it is the same whenever and wherever it is asked
// for. Keys are computed when the proof has come, as the answer to a wrong one is delayed and thus tells
// nothing about how long that takes.
type scramServer struct {
	name  string // the mechanism, in upper case
	hash  scram.Hash
	opts  Options
	nonce func() string // the server's part of the nonce

	server  *scram.Server // nil = the client has not said its first message
	binding []byte        // the data of the binding that the client has chosen
	user    string
	account *authlib.Account // nil = none, or none that can log in this way
	stored  bool             // keys are the account's, and complete
	keys    scram.Keys
	proved  bool
}

func newSCRAM(name string, o Options) (exchange, error) {
	if o.SCRAM == nil || !slices.Contains(o.Listed, name) {
		return nil, ErrUnknownMechanism
	}
	if Binds(name) && len(o.Bindings) == 0 {
		return nil, ErrUnknownMechanism
	}
	return &scramServer{name: name, hash: hashOf(name), opts: o, nonce: scram.Nonce}, nil
}

// Credentials is part of exchange. The name is known as soon as it has been said.
func (s *scramServer) Credentials() Credentials {
	c := Credentials{Mechanism: s.name, User: s.user}
	if s.proved {
		c.Account = s.account
	}
	return c
}

// Next is part of exchange.
func (s *scramServer) Next(response []byte) ([]byte, bool, error) {
	switch {
	case s.proved: // what the client has to say to our own proof is nothing
		if len(response) > 0 {
			return nil, false, ErrMalformed
		}
		return nil, true, nil
	case s.server != nil:
		return s.final(string(response))
	case response == nil:
		return []byte{}, false, nil
	}
	return s.first(string(response))
}

// first answers the client's first message, which names the user.
func (s *scramServer) first(message string) ([]byte, bool, error) {
	m, err := scram.ParseClientFirst(message)
	if err != nil {
		return nil, false, ErrMalformed
	}
	if err := s.bind(m); err != nil {
		return nil, false, err
	}
	if err := s.lookup(m); err != nil {
		return nil, false, err
	}
	server, reply := s.hash.Begin(m, s.nonce(), s.keys)
	s.server = server
	return []byte(reply), false, nil
}

// bind chooses the channel binding that the client wants to use (RFC 5802 section 6).
func (s *scramServer) bind(m *scram.ClientFirst) error {
	if (m.Flag == scram.Binds) != Binds(s.name) {
		return fmt.Errorf("%w: %s with the flag %.1q", ErrBinding, s.name, m.Flag)
	}
	switch m.Flag {
	case scram.ServerCannot:
		if Known(s.hash.Name+plus, s.opts) {
			return fmt.Errorf("%w: the client was not shown %s", ErrBinding, s.hash.Name+plus)
		}
	case scram.Binds:
		i := slices.IndexFunc(s.opts.Bindings, func(b Binding) bool { return b.Type == m.Type })
		if i < 0 {
			return fmt.Errorf("%w: no channel binding of the type that the client wants", ErrBinding)
		}
		s.binding = s.opts.Bindings[i].Data
	}
	return nil
}

// lookup finds the keys of the name in the client's first message, or makes some.
func (s *scramServer) lookup(m *scram.ClientFirst) error {
	if err := Check(m.User, ""); err != nil {
		return err
	}
	s.user = m.User
	if m.AuthzID != "" && m.AuthzID != m.User {
		return fmt.Errorf("%w: authorization identity differs from the user", ErrMalformed)
	}
	secret, err := s.opts.SCRAM.Secret()
	if err != nil {
		return err
	}
	account, err := s.opts.SCRAM.Account(s.user)
	switch {
	case errors.Is(err, authlib.ErrExpired), errors.Is(err, authlib.ErrLocked):
		return err
	case errors.Is(err, authlib.ErrRefused):
	case err != nil:
		return err
	default:
		if err := s.findKeys(account); err != nil {
			return err
		}
	}
	if s.stored {
		return nil
	}
	s.keys = scram.Keys{
		Salt:       s.salt(secret),
		Iterations: s.opts.SCRAM.Iterations,
		Stored:     make([]byte, s.hash.Size),
		Server:     make([]byte, s.hash.Size),
	}
	// Nobody's, until final knows better.
	_, err = rand.Read(s.keys.Stored)
	return err
}

// findKeys finds what the account has to log in with. As for a login with a password nobody gets in where the
// hash is locked.
func (s *scramServer) findKeys(account *authlib.Account) error {
	keys, ok, err := s.hash.Find(account.CryptPassword)
	if clear := password.Clear(account.CryptPassword); account.ClearPassword == "" && clear != "" {
		known := *account
		known.ClearPassword = clear
		account = &known
	}
	switch {
	case account.CryptPassword != "" && password.Locked(account.CryptPassword):
		return nil // as good as no account
	case err != nil:
		return authlib.Unusable(account.Address, "%v of scheme {%s}", err, s.hash.Name)
	case ok:
		s.keys, s.stored = keys, true
	case account.ClearPassword == "":
		return ErrNoKeys
	}
	s.account = account
	return nil
}

// salt makes the salt of a name without stored keys. Databases mostly do not distinguish upper and lower case
// in names.
func (s *scramServer) salt(secret []byte) []byte {
	const size = 16 // as stored ones
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte("mailproxy " + s.hash.Name + " salt\x00" + strings.ToLower(s.user)))
	return mac.Sum(nil)[:size]
}

// final verifies the proof.
func (s *scramServer) final(message string) ([]byte, bool, error) {
	if s.account != nil && !s.stored {
		made, err := s.hash.Derive(s.account.ClearPassword, s.keys.Salt, s.keys.Iterations)
		if err != nil {
			return nil, false, err
		}
		s.keys = made
	}
	reply, err := s.server.Finish(message, s.binding, s.keys)
	switch {
	case errors.Is(err, scram.ErrBinding):
		return nil, false, ErrBinding
	case errors.Is(err, scram.ErrProof), err == nil && s.account == nil:
		return nil, false, authlib.ErrRefused
	case err != nil:
		return nil, false, ErrMalformed
	}
	s.proved = true
	return []byte(reply), false, nil
}
