package scram

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
)

var (
	// errMalformed says that a client's message is not what RFC 5802 section 7 asks for.
	errMalformed = errors.New("malformed SCRAM message")
	// ErrProof says that the client does not know the password.
	ErrProof = errors.New("wrong SCRAM proof")
	// ErrBinding says that the client sees another TLS connection than the server.
	ErrBinding = errors.New("SCRAM channel binding differs")
)

// How a client binds to the channel, the first character of its first message (RFC 5802 section 6).
const (
	CannotBind   = 'n'
	ServerCannot = 'y' // it could, and has not seen that the server can
	Binds        = 'p'
)

// ClientFirst is what the client's first message says.
type ClientFirst struct {
	Flag byte
	// Type is that of the channel binding where Flag is Binds.
	Type string
	// AuthzID may be empty; User is not decoded any further than RFC 5802 section 5.1 does.
	AuthzID, User string

	header, bare, nonce string
}

// ParseClientFirst reads the client's first message.
func ParseClientFirst(message string) (*ClientFirst, error) {
	field := strings.SplitN(message, ",", 3)
	if len(field) < 3 {
		return nil, errMalformed
	}
	m := &ClientFirst{header: field[0] + "," + field[1] + ",", bare: field[2]}
	kind, binds := strings.CutPrefix(field[0], "p=")
	switch {
	case binds && kind != "":
		m.Flag, m.Type = Binds, kind
	case field[0] == "n" || field[0] == "y":
		m.Flag = field[0][0]
	default:
		return nil, errMalformed
	}
	name, ok := strings.CutPrefix(field[1], "a=")
	if !ok && field[1] != "" {
		return nil, errMalformed
	}
	if m.AuthzID, ok = DecodeName(name); !ok {
		return nil, errMalformed
	}
	// Extensions may follow the nonce; "m=" in place of the name is one that this server would have to know.
	field = strings.Split(m.bare, ",")
	name, ok = strings.CutPrefix(field[0], "n=")
	if !ok || len(field) < 2 {
		return nil, errMalformed
	}
	if m.User, ok = DecodeName(name); !ok {
		return nil, errMalformed
	}
	if m.nonce, ok = strings.CutPrefix(field[1], "r="); !ok || !printable(m.nonce) {
		return nil, errMalformed
	}
	return m, nil
}

// DecodeName reads a saslname (RFC 5801 section 4, RFC 5802 section 5.1): "=2C" is a comma, "=3D" an equals
// sign; any other "=" is an error.
func DecodeName(s string) (string, bool) {
	rest := strings.NewReplacer("=2C", "", "=3D", "").Replace(s)
	return strings.NewReplacer("=2C", ",", "=3D", "=").Replace(s), !strings.Contains(rest, "=")
}

// printable says whether s can be a nonce.
func printable(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}

// Nonce makes the server's part of a nonce.
func Nonce() string { return rand.Text() }

// Server is the server's side of an exchange, from its first message on.
type Server struct {
	hash         Hash
	client       *ClientFirst
	nonce, first string // first is our first message
}

// Begin answers the client's first message. nonce is the server's part of it, see Nonce; of keys only salt
// and iterations matter.
func (h Hash) Begin(m *ClientFirst, nonce string, keys Keys) (s *Server, message string) {
	s = &Server{hash: h, client: m, nonce: m.nonce + nonce}
	salt := base64.StdEncoding.EncodeToString(keys.Salt)
	s.first = fmt.Sprintf("r=%s,s=%s,i=%d", s.nonce, salt, keys.Iterations)
	return s, s.first
}

// Finish verifies the client's final message, and answers it with the server's own proof. binding is the data
// of the channel binding that the client has chosen. ErrBinding and ErrProof are among the errors.
func (s *Server) Finish(message string, binding []byte, keys Keys) (string, error) {
	last := strings.LastIndexByte(message, ',')
	if last < 0 {
		return "", errMalformed
	}
	without := message[:last]
	field := strings.Split(without, ",")
	if len(field) < 2 { // more are extensions, which the proof covers
		return "", errMalformed
	}
	channel, ok := decode(field[0], "c=")
	proof, found := decode(message[last+1:], "p=")
	if !ok || !found || !strings.HasPrefix(field[1], "r=") {
		return "", errMalformed
	}
	want := []byte(s.client.header)
	if s.client.Flag == Binds {
		want = append(want, binding...)
	}
	switch {
	case !hmac.Equal(channel, want):
		return "", ErrBinding
	case field[1] != "r="+s.nonce, len(proof) != s.hash.Size:
		return "", errMalformed
	}
	all := s.client.bare + "," + s.first + "," + without
	clientKey := make([]byte, s.hash.Size)
	subtle.XORBytes(clientKey, proof, s.hash.mac(keys.Stored, all))
	stored := s.hash.new()
	stored.Write(clientKey)
	clear(clientKey) // with it one could log in
	if !hmac.Equal(stored.Sum(nil), keys.Stored) {
		return "", ErrProof
	}
	return "v=" + base64.StdEncoding.EncodeToString(s.hash.mac(keys.Server, all)), nil
}

// decode reads a field in base64.
func decode(field, name string) ([]byte, bool) {
	text, ok := strings.CutPrefix(field, name)
	if !ok || strings.ContainsAny(text, "\r\n") { // which the decoder skips
		return nil, false
	}
	raw, err := base64.StdEncoding.Strict().DecodeString(text)
	return raw, err == nil
}
