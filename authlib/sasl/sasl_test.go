package sasl

import (
	"bytes"
	"crypto/hmac"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	gosasl "github.com/emersion/go-sasl"

	"mailproxy/authlib"
	"mailproxy/internal/text"
)

// none is the response of a client that sent no initial response.
var none = []byte(nil)

func b(s string) []byte { return []byte(s) }

func TestExchanges(t *testing.T) {
	md5Digest := strings.Repeat("0a", 16)
	sha1Digest := strings.Repeat("0A", 20)
	sha256Digest := strings.Repeat("fF", 32)
	challenge := "<000102030405060708090a0b0c0d0e0f@mail.example.com>"
	longUser, longPassword := strings.Repeat("u", MaxUser), strings.Repeat("p", MaxPassword)
	cases := []struct {
		name, mechanism string
		responses       [][]byte
		challenges      []string // what comes back for each response but the last
		want            Credentials
		err             error
	}{
		{"PLAIN prompted", "plain", [][]byte{none, b("\x00user\x00pass word")}, []string{""},
			Credentials{Mechanism: "PLAIN", Type: "login", User: "user", Password: "pass word"}, nil},
		{"PLAIN initial", "PLAIN", [][]byte{b("\x00user\x00p")}, nil,
			Credentials{Mechanism: "PLAIN", Type: "login", User: "user", Password: "p"}, nil},
		{"PLAIN authzid equal", "PLAIN", [][]byte{b("user\x00user\x00p")}, nil,
			Credentials{Mechanism: "PLAIN", Type: "login", User: "user", Password: "p"}, nil},
		{"PLAIN 8-bit", "PLAIN", [][]byte{b("\x00us\xc3\xa9r\x00\xe9\xff")}, nil,
			Credentials{Mechanism: "PLAIN", Type: "login", User: "us\xc3\xa9r", Password: "\xe9\xff"}, nil},
		{"PLAIN empty password", "PLAIN", [][]byte{b("\x00user\x00")}, nil,
			Credentials{Mechanism: "PLAIN", Type: "login", User: "user"}, nil},
		{"PLAIN authzid other", "PLAIN", [][]byte{b("admin\x00user\x00p")}, nil, Credentials{}, ErrMalformed},
		{"PLAIN empty", "PLAIN", [][]byte{b("")}, nil, Credentials{}, ErrMalformed},
		{"PLAIN empty after prompt", "PLAIN", [][]byte{none, b("")}, []string{""}, Credentials{}, ErrMalformed},
		{"PLAIN two parts", "PLAIN", [][]byte{b("user\x00p")}, nil, Credentials{}, ErrMalformed},
		{"PLAIN four parts", "PLAIN", [][]byte{b("\x00user\x00p\x00")}, nil, Credentials{}, ErrMalformed},
		{"PLAIN no user", "PLAIN", [][]byte{b("\x00\x00p")}, nil, Credentials{}, ErrMalformed},
		{"PLAIN CR LF", "PLAIN", [][]byte{b("\x00user\x00PW\r\nA2 DELETE x")}, nil, Credentials{}, ErrMalformed},
		{"PLAIN bare CR", "PLAIN", [][]byte{b("\x00us\rer\x00p")}, nil, Credentials{}, ErrMalformed},
		{"PLAIN longest", "PLAIN", [][]byte{b("\x00" + longUser + "\x00" + longPassword)}, nil,
			Credentials{Mechanism: "PLAIN", Type: "login", User: longUser, Password: longPassword}, nil},
		{"PLAIN user too long", "PLAIN", [][]byte{b("\x00u" + longUser + "\x00p")}, nil, Credentials{},
			ErrMalformed},
		{"PLAIN password too long", "PLAIN", [][]byte{b("\x00u\x00p" + longPassword)}, nil,
			Credentials{}, ErrMalformed},

		{"LOGIN prompted", "LOGIN", [][]byte{none, b("user"), b("pw")}, []string{"Username:", "Password:"},
			Credentials{Mechanism: "LOGIN", Type: "login", User: "user", Password: "pw"}, nil},
		{"LOGIN initial", "login", [][]byte{b("user"), b("pw")}, []string{"Password:"},
			Credentials{Mechanism: "LOGIN", Type: "login", User: "user", Password: "pw"}, nil},
		{"LOGIN empty password", "LOGIN", [][]byte{none, b("user"), b("")}, []string{"Username:", "Password:"},
			Credentials{Mechanism: "LOGIN", Type: "login", User: "user"}, nil},
		{"LOGIN empty initial", "LOGIN", [][]byte{b(""), b("pw")}, []string{"Password:"}, Credentials{},
			ErrMalformed},
		{"LOGIN empty user", "LOGIN", [][]byte{none, b(""), b("pw")}, []string{"Username:", "Password:"},
			Credentials{}, ErrMalformed},
		{"LOGIN nil late", "LOGIN", [][]byte{none, none, none}, []string{"Username:", "Password:"}, Credentials{},
			ErrMalformed},
		{"LOGIN LF in password", "LOGIN", [][]byte{b("user"), b("PW\njunk")}, []string{"Password:"}, Credentials{},
			ErrMalformed},
		{"LOGIN NUL in user", "LOGIN", [][]byte{b("us\x00er"), b("pw")}, []string{"Password:"}, Credentials{},
			ErrMalformed},
		{"LOGIN user too long", "LOGIN", [][]byte{b(strings.Repeat("u", MaxUser+1)), b("pw")},
			[]string{"Password:"}, Credentials{}, ErrMalformed},

		{"CRAM-MD5", "cram-md5", [][]byte{none, b("us er " + md5Digest)}, []string{challenge},
			Credentials{Mechanism: "CRAM-MD5", Type: authlib.AuthCRAMMD5, User: "us er", Challenge: b(challenge),
				Response: b("us er " + md5Digest)}, nil},
		{"CRAM-SHA1", "CRAM-SHA1", [][]byte{none, b("u " + sha1Digest)}, []string{challenge},
			Credentials{Mechanism: "CRAM-SHA1", Type: authlib.AuthCRAMSHA1, User: "u", Challenge: b(challenge),
				Response: b("u " + sha1Digest)}, nil},
		{"CRAM-SHA256", "CRAM-SHA256", [][]byte{none, b("u " + sha256Digest)}, []string{challenge},
			Credentials{Mechanism: "CRAM-SHA256", Type: authlib.AuthCRAMSHA256, User: "u", Challenge: b(challenge),
				Response: b("u " + sha256Digest)}, nil},
		{"CRAM initial response", "CRAM-MD5", [][]byte{b("u " + md5Digest)}, nil, Credentials{}, ErrMalformed},
		{"CRAM empty initial response", "CRAM-MD5", [][]byte{b("")}, nil, Credentials{}, ErrMalformed},
		{"CRAM empty", "CRAM-MD5", [][]byte{none, b("")}, []string{challenge}, Credentials{}, ErrMalformed},
		{"CRAM no user", "CRAM-MD5", [][]byte{none, b(" " + md5Digest)}, []string{challenge}, Credentials{},
			ErrMalformed},
		{"CRAM no digest", "CRAM-MD5", [][]byte{none, b("user ")}, []string{challenge}, Credentials{},
			ErrMalformed},
		{"CRAM digest of another hash", "CRAM-MD5", [][]byte{none, b("u " + sha1Digest)}, []string{challenge},
			Credentials{}, ErrMalformed},
		{"CRAM not hex", "CRAM-MD5", [][]byte{none, b("u " + strings.Repeat("0g", 16))}, []string{challenge},
			Credentials{}, ErrMalformed},
		{"CRAM LF", "CRAM-MD5", [][]byte{none, b("u\nx " + md5Digest)}, []string{challenge}, Credentials{},
			ErrMalformed},

		{"EXTERNAL prompted", "EXTERNAL", [][]byte{none, b("")}, []string{""},
			Credentials{Mechanism: "EXTERNAL", User: "cert@example.com", External: true}, nil},
		{"EXTERNAL initial", "external", [][]byte{b("")}, nil,
			Credentials{Mechanism: "EXTERNAL", User: "cert@example.com", External: true}, nil},
		{"EXTERNAL same name", "EXTERNAL", [][]byte{b("cert@example.com")}, nil,
			Credentials{Mechanism: "EXTERNAL", User: "cert@example.com", External: true}, nil},
		{"EXTERNAL other name", "EXTERNAL", [][]byte{none, b("root")}, []string{""}, Credentials{}, ErrMalformed},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			x, err := newExchange(c.mechanism,
				Options{Hostname: "mail.example.com", External: "cert@example.com"})
			if err != nil {
				t.Fatal(err)
			}
			if x, ok := x.(*cram); ok {
				x.nonce = func() []byte { return []byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15} }
			}
			for i, response := range c.responses {
				challenge, done, err := x.Next(response)
				if i < len(c.responses)-1 {
					if err != nil || done || challenge == nil || string(challenge) != c.challenges[i] {
						t.Fatalf("step %d: %q, %v, %v; want challenge %q", i, challenge, done, err, c.challenges[i])
					}
					continue
				}
				if !errors.Is(err, c.err) || done != (c.err == nil) {
					t.Fatalf("last step: %q, %v, %v; want error %v", challenge, done, err, c.err)
				}
			}
			if c.err != nil {
				return
			}
			if got := x.Credentials(); !equal(got, c.want) {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}

func equal(a, b Credentials) bool {
	return a.Mechanism == b.Mechanism && a.Type == b.Type && a.User == b.User && a.Password == b.Password &&
		bytes.Equal(a.Challenge, b.Challenge) && bytes.Equal(a.Response, b.Response) && a.External == b.External
}

func TestUnknownMechanism(t *testing.T) {
	for _, m := range []string{"", "X", "PLAIN ", "DIGEST-MD5", "EXTERNAL"} {
		if _, err := newExchange(m, Options{}); !errors.Is(err, ErrUnknownMechanism) {
			t.Errorf("New(%q): %v", m, err)
		}
	}
}

func TestChallengesDiffer(t *testing.T) {
	one, _ := newExchange("CRAM-MD5", Options{Hostname: "h"})
	two, _ := newExchange("CRAM-MD5", Options{Hostname: "h"})
	c1, _, _ := one.Next(nil)
	c2, _, _ := two.Next(nil)
	if len(c1) != len("<@h>")+32 || bytes.Equal(c1, c2) {
		t.Errorf("challenges %q and %q", c1, c2)
	}
}

// TestCheckBytes holds every byte against the rule: control characters never, all others always.
func TestCheckBytes(t *testing.T) {
	for i := range 256 {
		s := "a" + string([]byte{byte(i)}) + "z"
		refuse := i < 0x20 || i == 0x7f
		if err := Check(s, "p"); (err != nil) != refuse {
			t.Errorf("user with %#x: %v", i, err)
		}
		if err := Check("u", s); (err != nil) != refuse {
			t.Errorf("password with %#x: %v", i, err)
		}
		if _, err := PlainResponse(s, "u", "p"); (err != nil) != refuse {
			t.Errorf("authzid with %#x: %v", i, err)
		}
	}
}

func TestPlainResponse(t *testing.T) {
	got, err := PlainResponse("joe@example.com", "master", "secret")
	if err != nil || string(got) != "joe@example.com\x00master\x00secret" {
		t.Errorf("%q, %v", got, err)
	}
	for _, bad := range [][3]string{{"", "", "p"}, {strings.Repeat("z", MaxUser+1), "u", "p"},
		{"", "u", "p\x00"}} {
		if _, err := PlainResponse(bad[0], bad[1], bad[2]); !errors.Is(err, ErrMalformed) {
			t.Errorf("%.20q: %v", bad, err)
		}
	}
}

// TestAgainstGoSASL lets the clients of a kept library log in here.
func TestAgainstGoSASL(t *testing.T) {
	for _, c := range []struct {
		client gosasl.Client
		want   Credentials
	}{
		{gosasl.NewPlainClient("", "joe", "a b"), Credentials{Mechanism: "PLAIN", Type: "login", User: "joe",
			Password: "a b"}},
		{gosasl.NewLoginClient("joe", "a b"), Credentials{Mechanism: "LOGIN", Type: "login", User: "joe",
			Password: "a b"}},
		{gosasl.NewExternalClient(""), Credentials{Mechanism: "EXTERNAL", User: "cert", External: true}},
	} {
		mechanism, response, err := c.client.Start()
		if err != nil {
			t.Fatal(err)
		}
		x, err := newExchange(mechanism, Options{External: "cert"})
		if err != nil {
			t.Fatal(err)
		}
		for {
			challenge, done, err := x.Next(response)
			if err != nil {
				t.Fatalf("%s: %v", mechanism, err)
			}
			if done {
				break
			}
			if response, err = c.client.Next(challenge); err != nil {
				t.Fatalf("%s: client: %v", mechanism, err)
			}
		}
		if got := x.Credentials(); !equal(got, c.want) {
			t.Errorf("%s: got %+v", mechanism, got)
		}
	}
}

// TestRFC2195 checks that what the auth module will be given verifies as in the RFC's own example.
func TestRFC2195(t *testing.T) {
	mac := hmac.New(md5.New, b("tanstaaftanstaaf"))
	mac.Write(b("<1896.697170952@postoffice.reston.mci.net>"))
	response := "tim " + hex.EncodeToString(mac.Sum(nil))
	if response != "tim b913a602c7eda7a495b4e6e7334d3890" { // RFC 2195 section 2
		t.Fatal(response)
	}
	x, _ := newExchange("CRAM-MD5", Options{Hostname: "h"})
	x.Next(nil)
	if _, done, err := x.Next(b(response)); !done || err != nil {
		t.Fatal(done, err)
	}
}

// FuzzExchange: whatever the client answers, an exchange ends after at most three steps, and what it yields
// holds a user, no control character and nothing that was not in the answers.
func FuzzExchange(f *testing.F) {
	f.Add("PLAIN", true, b("\x00user\x00pass"), b(""), b(""))
	f.Add("PLAIN", false, b("a\x00user\x00pa\nss"), b("\x00"), b("\xff"))
	f.Add("LOGIN", false, b("user"), b("pass"), b(""))
	f.Add("LOGIN", true, b(""), b("pass"), b(""))
	f.Add("CRAM-MD5", false, b("user b913a602c7eda7a495b4e6e7334d3890"), b(""), b(""))
	f.Add("EXTERNAL", true, b("cert"), b(""), b(""))
	f.Fuzz(func(t *testing.T, mechanism string, initial bool, r1, r2, r3 []byte) {
		x, err := newExchange(mechanism, Options{Hostname: "h", External: "cert"})
		if err != nil {
			return
		}
		responses := [][]byte{append([]byte{}, r1...), append([]byte{}, r2...), append([]byte{}, r3...)}
		if !initial {
			responses = append([][]byte{nil}, responses...)
		}
		said := string(bytes.Join(responses, []byte("\n"))) + "cert"
		for i, r := range responses {
			challenge, done, err := x.Next(r)
			if err != nil {
				if done || !errors.Is(err, ErrMalformed) {
					t.Fatalf("done %v with %v", done, err)
				}
				return
			}
			if !done {
				if challenge == nil || i == 3 {
					t.Fatalf("step %d: challenge %q", i, challenge)
				}
				continue
			}
			c := x.Credentials()
			if Check(c.User, c.Password) != nil || !strings.Contains(said, c.User) ||
				!strings.Contains(said, c.Password) ||
				!text.PlainName(string(c.Response)) || (c.Type == "") != c.External {
				t.Fatalf("%q yields %+v", responses, c)
			}
			return
		}
		t.Fatal("the exchange does not end")
	})
}
