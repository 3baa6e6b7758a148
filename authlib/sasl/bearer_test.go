package sasl

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"
)

// withTokens are options for the mechanisms with tokens.
func withTokens() Options { return Options{Listed: []string{"OAUTHBEARER", "XOAUTH2"}, Tokens: true} }

// rfc7628 is the message of RFC 7628 section 4.1, word by word.
const rfc7628 = "n,a=user@example.com,\x01host=server.example.com\x01port=143\x01" +
	"auth=Bearer vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==\x01\x01"

func TestBearer(t *testing.T) {
	for _, c := range []struct {
		what, mechanism, message, user string
		err                            error
	}{
		{"RFC 7628 section 4.1", "OAUTHBEARER", rfc7628, "user@example.com", nil},
		{"lower case", "oauthbearer", rfc7628, "user@example.com", nil},
		{"a comma and an equals sign", "OAUTHBEARER", "n,a=a=2Cb=3Dc,\x01\x01", "a,b=c", nil},
		{"the client could bind", "OAUTHBEARER", "y,a=ann,\x01auth=Bearer x\x01\x01", "ann", nil},
		{"the client binds", "OAUTHBEARER", "p=tls-exporter,a=ann,\x01auth=Bearer x\x01\x01", "", ErrMalformed},
		{"no name", "OAUTHBEARER", "n,,\x01auth=Bearer x\x01\x01", "", ErrNoName},
		{"an empty name", "OAUTHBEARER", "n,a=,\x01auth=Bearer x\x01\x01", "", ErrNoName},
		{"something else", "OAUTHBEARER", "n,b=ann,\x01auth=Bearer x\x01\x01", "", ErrMalformed},
		{"escaped in another way", "OAUTHBEARER", "n,a=a=2cb,\x01\x01", "", ErrMalformed},
		{"a bare equals sign", "OAUTHBEARER", "n,a=a=b,\x01\x01", "", ErrMalformed},
		{"a line break", "OAUTHBEARER", "n,a=a\nb,\x01\x01", "", ErrMalformed},
		{"too many fields", "OAUTHBEARER", "n,a=ann,x,\x01\x01", "", ErrMalformed},
		{"text after the header", "OAUTHBEARER", "n,a=ann,x\x01\x01", "", ErrMalformed},
		{"the header alone", "OAUTHBEARER", "n,a=ann,", "", ErrMalformed},
		{"another flag", "OAUTHBEARER", "z,a=ann,\x01\x01", "", ErrMalformed},
		{"the dummy response", "OAUTHBEARER", "\x01", "", ErrMalformed},
		{"nothing", "OAUTHBEARER", "", "", ErrMalformed},
		{"a name that is too long", "OAUTHBEARER", "n,a=" + strings.Repeat("u", MaxUser+1) + ",\x01", "",
			ErrTooLong},

		{"XOAUTH2", "XOAUTH2", "user=someuser@example.com\x01auth=Bearer ya29.vF9d\x01\x01",
			"someuser@example.com", nil},
		{"XOAUTH2, as it is", "XOAUTH2", "user=a=2Cb,c\x01auth=Bearer x\x01\x01", "a=2Cb,c", nil},
		{"XOAUTH2, no name", "XOAUTH2", "auth=Bearer x\x01\x01", "", ErrNoName},
		{"XOAUTH2, an empty name", "XOAUTH2", "user=\x01auth=Bearer x\x01\x01", "", ErrNoName},
		{"XOAUTH2, the name alone", "XOAUTH2", "user=ann", "", ErrMalformed},
		{"XOAUTH2, a NUL", "XOAUTH2", "user=a\x00b\x01auth=Bearer x\x01\x01", "", ErrMalformed},
		{"XOAUTH2, nothing", "XOAUTH2", "", "", ErrMalformed},
	} {
		x, err := newExchange(c.mechanism, withTokens())
		if err != nil {
			t.Fatal(err)
		}
		if challenge, done, err := x.Next(nil); challenge == nil || len(challenge) > 0 || done || err != nil {
			t.Errorf("%s: prompt %q, %v, %v", c.what, challenge, done, err)
		}
		_, done, err := x.Next([]byte(c.message))
		got := x.Credentials()
		if done != (c.err == nil) || !errors.Is(err, c.err) || got.User != c.user {
			t.Errorf("%s: %v, %v, %+v", c.what, done, err, got)
		}
		if done && (got.Token != c.message || got.Mechanism != strings.ToUpper(c.mechanism) || got.Password != "" ||
			got.External || got.Account != nil || got.Type != "") {
			t.Errorf("%s: %+v", c.what, got)
		}
	}
}

// Unless the settings name them, and a token may be shown here, the mechanisms are unknown.
func TestBearerOffered(t *testing.T) {
	for _, mechanism := range []string{"OAUTHBEARER", "XOAUTH2"} {
		for _, o := range []Options{{}, {Tokens: true}, {Listed: []string{mechanism}}} {
			if _, err := newExchange(mechanism, o); !errors.Is(err, ErrUnknownMechanism) || Known(mechanism, o) {
				t.Errorf("%s with %+v: %v", mechanism, o, err)
			}
		}
		if !Known(mechanism, withTokens()) || !HasToken(strings.ToLower(mechanism)) ||
			limit(mechanism) != MaxBearerLine {
			t.Errorf("%s is not known", mechanism)
		}
	}
	if HasToken("PLAIN") || limit("PLAIN") != MaxLine {
		t.Error("PLAIN has a token")
	}
}

// said is a client that has said its lines already.
type said struct{ lines, challenges []string }

func (s *said) Challenge(text string) error {
	s.challenges = append(s.challenges, text)
	return nil
}

func (s *said) ReadLine(int) ([]byte, error) {
	next := s.lines[0]
	s.lines = s.lines[1:]
	return []byte(next), nil
}

// RFC 7628 section 3.2.3: a dummy response follows the challenge; anything does but what cancels.
func TestExplain(t *testing.T) {
	for line, want := range map[string]error{"AQ==": nil, "": nil, "words": nil, "*": ErrAborted} {
		client := &said{lines: []string{line}}
		if err := Explain(client, "e30="); !errors.Is(err, want) || client.challenges[0] != "e30=" {
			t.Errorf("%q: %v, want %v", line, err, want)
		}
	}
	for text, want := range map[string]bool{"e30=": true, "": false, "{}": false, "e3\r0=": false, "*": false} {
		if IsChallenge(text) != want {
			t.Errorf("%q: %v", text, !want)
		}
	}
	if Dummy("OAUTHBEARER") != "AQ==" || Dummy("XOAUTH2") != "" {
		t.Errorf("%q and %q", Dummy("OAUTHBEARER"), Dummy("XOAUTH2"))
	}
}

// FuzzBearer: whatever a client says, the mailhost is shown the same bytes or nothing, and the name that it
// is found by is one that an account can have, and the one in the message.
func FuzzBearer(f *testing.F) {
	for _, message := range []string{
		rfc7628, "n,,\x01auth=Bearer x\x01\x01", "y,a=a=2Cb=3Dc,\x01\x01", "p=x,a=b,\x01", "\x01", "n,a=\x00,\x01",
		"user=ann\x01auth=Bearer x\x01\x01", "user=\x01\x01", "user=a,b=c\x01", "auth=Bearer x\x01\x01",
	} {
		f.Add("OAUTHBEARER", message)
		f.Add("XOAUTH2", message)
	}
	f.Fuzz(func(t *testing.T, mechanism, message string) {
		if !HasToken(mechanism) {
			return
		}
		client := &said{lines: []string{base64.StdEncoding.EncodeToString([]byte(message))}}
		c, err := Converse(client, mechanism, "", withTokens())
		switch {
		case err != nil:
			t.Fatal(err)
		case c.Err != nil:
			if c.Token != "" || !errors.Is(c.Err, ErrMalformed) && !errors.Is(c.Err, ErrNoName) {
				t.Fatalf("%q: %v, %+v", message, c.Err, c)
			}
			return
		case c.Token != message || Check(c.User, "") != nil:
			t.Fatalf("%q: %+v", message, c)
		}
		escaped := strings.NewReplacer("=", "=3D", ",", "=2C").Replace(c.User)
		if c.Mechanism == "XOAUTH2" && !strings.HasPrefix(message, "user="+c.User+"\x01") ||
			c.Mechanism == "OAUTHBEARER" && !strings.HasPrefix(message[1:], ",a="+escaped+",\x01") {
			t.Fatalf("%q is %q's", message, c.User)
		}
	})
}
