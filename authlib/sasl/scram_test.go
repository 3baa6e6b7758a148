package sasl

import (
	"bytes"
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	xscram "github.com/xdg-go/scram"

	"mailproxy/authlib"
	"mailproxy/authlib/scram"
)

// withAccounts are options for a server that has these accounts, and the usual troubles under their names.
func withAccounts(accounts map[string]*authlib.Account) Options {
	return Options{
		Listed: []string{"SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"},
		SCRAM: &SCRAM{
			Account: func(user string) (*authlib.Account, error) {
				switch a := accounts[user]; {
				case user == "down":
					return nil, errors.New("database down")
				case user == "locked":
					return nil, authlib.ErrLocked
				case a == nil:
					return nil, authlib.ErrRefused
				default:
					return a, nil
				}
			},
			Secret:     func() ([]byte, error) { return []byte("0123456789abcdef"), nil },
			Iterations: 4096,
		},
	}
}

// stored makes an account with keys.
func stored(t *testing.T, h scram.Hash, salt, clear string) *authlib.Account {
	t.Helper()
	raw, err := base64.StdEncoding.DecodeString(salt)
	if err != nil {
		t.Fatal(err)
	}
	k, err := h.Derive(clear, raw, 4096)
	if err != nil {
		t.Fatal(err)
	}
	return &authlib.Account{Address: "user", CryptPassword: "{" + h.Name + "}" + k.String()}
}

// The conversations of RFC 5802 section 5 and RFC 7677 section 3, word by word.
func TestSCRAMExamples(t *testing.T) {
	for _, c := range []struct {
		mechanism, salt, nonce string
		hash                   scram.Hash
		says, reads            []string
	}{
		{"SCRAM-SHA-1", "QSXCR+Q6sek8bf92", "3rfcNHYJY1ZVvWVs7j", scram.SHA1(),
			[]string{
				"n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL",
				"c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
			},
			[]string{
				"r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
				"v=rmF9pqV8S7suAoZWja4dJRkFsKQ=",
			}},
		{"scram-sha-256", "W22ZaJ0SNY7soEsUEjb6gQ==", "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0", scram.SHA256(),
			[]string{
				"n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
				"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0," +
					"p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
			},
			[]string{
				"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
				"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
			}},
	} {
		o := withAccounts(map[string]*authlib.Account{"user": stored(t, c.hash, c.salt, "pencil")})
		x, err := newExchange(c.mechanism, o)
		if err != nil {
			t.Fatal(err)
		}
		x.(*scramServer).nonce = func() string { return c.nonce }
		if challenge, done, err := x.Next(nil); len(challenge) != 0 || challenge == nil || done || err != nil {
			t.Errorf("%s: prompt %q, %v, %v", c.mechanism, challenge, done, err)
		}
		for i, said := range c.says {
			challenge, done, err := x.Next([]byte(said))
			if string(challenge) != c.reads[i] || done || err != nil {
				t.Fatalf("%s, step %d: %q, %v, %v", c.mechanism, i, challenge, done, err)
			}
			if got := x.Credentials(); got.Account != nil && i == 0 {
				t.Errorf("%s: an account before the proof", c.mechanism)
			}
		}
		_, done, err := x.Next([]byte{})
		if got := x.Credentials(); !done || err != nil || got.Account == nil || got.User != "user" ||
			got.Mechanism != strings.ToUpper(c.mechanism) || got.Type != "" || got.External {
			t.Errorf("%s: %v, %v, %+v", c.mechanism, done, err, got)
		}
	}
}

// converse lets a client of the library talk to a server, and returns what came of it.
func converse(
	t *testing.T, o Options, mechanism, user, clear string, binding *xscram.ChannelBinding,
) (Credentials, error) {
	t.Helper()
	f := xscram.SHA256
	if strings.HasPrefix(mechanism, "SCRAM-SHA-1") {
		f = xscram.SHA1
	}
	c, err := f.NewClient(user, clear, "")
	if err != nil {
		t.Fatal(err)
	}
	conv := c.NewConversation()
	if binding != nil {
		conv = c.NewConversationWithChannelBinding(*binding)
	}
	x, err := newExchange(mechanism, o)
	if err != nil {
		t.Fatal(err)
	}
	challenge := []byte(nil)
	for {
		said, err := conv.Step(string(challenge))
		if err != nil {
			t.Fatalf("%s as %s: client: %v", mechanism, user, err)
		}
		var done bool
		if challenge, done, err = x.Next([]byte(said)); err != nil || done {
			if err == nil && !conv.Valid() {
				t.Errorf("%s as %s: the client does not believe the server", mechanism, user)
			}
			return x.Credentials(), err
		}
	}
}

func TestSCRAMAccounts(t *testing.T) {
	keys256, keys1 := stored(t, scram.SHA256(), "QSXCR+Q6sek8bf92QSXCRw==", "pencil"),
		stored(t, scram.SHA1(), "QSXCR+Q6sek8bf92QSXCRw==", "pencil")
	o := withAccounts(map[string]*authlib.Account{
		"keys": keys256, "keys1": keys1,
		"clear":   {ClearPassword: "pencil"},
		"plain":   {CryptPassword: "{PLAIN}pencil"},
		"both":    {CryptPassword: "$6$x$y", ClearPassword: "pencil"},
		"a=b,c":   {ClearPassword: "pencil"},
		"umlaut":  {ClearPassword: "pa\u0308ss"}, // the client sends it composed
		"barred":  {CryptPassword: "!" + keys256.CryptPassword, ClearPassword: "pencil"},
		"barred2": {CryptPassword: "{SCRAM-SHA-256}!4096,x", ClearPassword: ""},
		"hash":    {CryptPassword: "{SSHA}x"},
		"nothing": {},
		"damaged": {CryptPassword: "{SCRAM-SHA-256}4096,AAAA,AAAA,AAAA"},
	})
	for _, c := range []struct {
		mechanism, user, clear string
		err                    error
	}{
		{"SCRAM-SHA-256", "keys", "pencil", nil},
		{"SCRAM-SHA-256", "keys", "pencils", authlib.ErrRefused},
		{"SCRAM-SHA-256", "keys1", "pencil", ErrNoKeys},
		{"SCRAM-SHA-1", "keys1", "pencil", nil},
		{"SCRAM-SHA-1", "keys", "pencil", ErrNoKeys},
		{"SCRAM-SHA-256", "clear", "pencil", nil},
		{"SCRAM-SHA-1", "clear", "pencil", nil},
		{"SCRAM-SHA-256", "clear", "", authlib.ErrRefused},
		{"SCRAM-SHA-256", "plain", "pencil", nil},
		{"SCRAM-SHA-256", "both", "pencil", nil},
		{"SCRAM-SHA-256", "a=b,c", "pencil", nil},
		{"SCRAM-SHA-256", "umlaut", "p\u00e4ss", nil},
		{"SCRAM-SHA-256", "barred", "pencil", authlib.ErrRefused},
		{"SCRAM-SHA-256", "barred2", "pencil", authlib.ErrRefused},
		{"SCRAM-SHA-256", "hash", "pencil", ErrNoKeys},
		{"SCRAM-SHA-256", "nothing", "pencil", ErrNoKeys},
		{"SCRAM-SHA-256", "nobody", "pencil", authlib.ErrRefused},
		{"SCRAM-SHA-256", "locked", "pencil", authlib.ErrLocked},
		{"SCRAM-SHA-256", strings.Repeat("u", MaxUser+1), "pencil", ErrTooLong},
	} {
		got, err := converse(t, o, c.mechanism, c.user, c.clear, nil)
		if !errors.Is(err, c.err) || (err == nil) != (got.Account != nil) {
			t.Errorf("%s as %.20q with %q: %v, %+v; want %v", c.mechanism, c.user, c.clear, err, got, c.err)
		}
		if err == nil && c.user == "plain" && got.Account.ClearPassword != "pencil" {
			t.Errorf("%s: the clear password is lost", c.user)
		}
	}
	for _, user := range []string{"down", "damaged"} {
		_, err := converse(t, o, "SCRAM-SHA-256", user, "pencil", nil)
		if err == nil || errors.Is(err, authlib.ErrRefused) || errors.Is(err, ErrMalformed) ||
			strings.Contains(err.Error(), "AAAA") {
			t.Errorf("%s: %v, want a temporary failure", user, err)
		}
	}
	o.SCRAM.Secret = func() ([]byte, error) { return nil, errors.New("no file") }
	if _, err := converse(t, o, "SCRAM-SHA-256", "keys", "pencil", nil); err == nil || err.Error() != "no file" {
		t.Errorf("without a secret: %v", err)
	}
}

// first returns the server's first message to a name, without the nonce.
func first(t *testing.T, o Options, mechanism, user string) string {
	t.Helper()
	x, err := newExchange(mechanism, o)
	if err != nil {
		t.Fatal(err)
	}
	challenge, _, err := x.Next([]byte("n,,n=" + user + ",r=abc"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(challenge), ",")
	return rest
}

// A name that nobody has cannot be told from an account: the same salt each time, in every process, in
// whatever letters; another one for another name, mechanism and secret.
func TestSCRAMUnknownNames(t *testing.T) {
	o := withAccounts(map[string]*authlib.Account{"ann": {ClearPassword: "x"}})
	nobody := first(t, o, "SCRAM-SHA-256", "zoe")
	if again := first(t, withAccounts(nil), "SCRAM-SHA-256", "ZOE"); again != nobody {
		t.Errorf("%q and %q", nobody, again)
	}
	if !strings.HasSuffix(nobody, ",i=4096") || len(nobody) != len("s=QSXCR+Q6sek8bf92QSXCRw==,i=4096") {
		t.Errorf("%q", nobody)
	}
	// An account that loses its clear password, or is made, does not change what its name is shown.
	ann, none := first(t, o, "SCRAM-SHA-256", "ann"), first(t, withAccounts(nil), "SCRAM-SHA-256", "ann")
	if ann != none {
		t.Errorf("%q and %q", ann, none)
	}
	other := withAccounts(nil)
	other.SCRAM.Secret = func() ([]byte, error) { return []byte("another secret"), nil }
	seen := map[string]bool{nobody: true}
	for _, salt := range []string{
		first(t, o, "SCRAM-SHA-256", "zoey"),
		first(t, o, "SCRAM-SHA-1", "zoe"),
		first(t, other, "SCRAM-SHA-256", "zoe"),
	} {
		if seen[salt] {
			t.Errorf("%q twice", salt)
		}
		seen[salt] = true
	}
}

func TestSCRAMBinding(t *testing.T) {
	accounts := map[string]*authlib.Account{"ann": {ClearPassword: "x"}}
	exporter := Binding{"tls-exporter", bytes.Repeat([]byte{1}, 32)}
	endPoint := Binding{"tls-server-end-point", bytes.Repeat([]byte{2}, 32)}
	client := func(b Binding) *xscram.ChannelBinding {
		return &xscram.ChannelBinding{Type: xscram.ChannelBindingType(b.Type), Data: b.Data}
	}
	bound := withAccounts(accounts)
	bound.Bindings = []Binding{exporter, endPoint}
	one := withAccounts(accounts)
	one.Bindings = []Binding{exporter}
	for _, c := range []struct {
		name, mechanism string
		o               Options
		binding         *xscram.ChannelBinding
		err             error
	}{
		{"exporter", "SCRAM-SHA-256-PLUS", bound, client(exporter), nil},
		{"end point", "SCRAM-SHA-256-PLUS", bound, client(endPoint), nil},
		{"end point not known", "SCRAM-SHA-256-PLUS", one, client(endPoint), ErrBinding},
		{"another connection", "SCRAM-SHA-256-PLUS", bound, client(Binding{"tls-exporter", endPoint.Data}),
			ErrBinding},
		{"tls-unique", "SCRAM-SHA-256-PLUS", bound, client(Binding{"tls-unique", endPoint.Data}), ErrBinding},
		{"does not bind", "SCRAM-SHA-256-PLUS", bound, nil, ErrBinding},
		{"need not", "SCRAM-SHA-256", bound, nil, nil},
		{"binds under the other name", "SCRAM-SHA-256", bound, client(exporter), ErrBinding},
	} {
		got, err := converse(t, c.o, c.mechanism, "ann", "x", c.binding)
		if !errors.Is(err, c.err) || (err == nil) != (got.Account != nil) {
			t.Errorf("%s: %v, want %v", c.name, err, c.err)
		}
	}
	// "y": the client could bind, and thinks that the server cannot.
	for _, c := range []struct {
		mechanism string
		o         Options
		err       error
	}{
		{"SCRAM-SHA-256", bound, ErrBinding},
		{"SCRAM-SHA-256", withAccounts(accounts), nil},
		{"SCRAM-SHA-1", bound, nil}, // whose -PLUS is not listed
	} {
		x, err := newExchange(c.mechanism, c.o)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := x.Next([]byte("y,,n=ann,r=abc")); !errors.Is(err, c.err) {
			t.Errorf("%s and y: %v, want %v", c.mechanism, err, c.err)
		}
	}
	for mechanism, o := range map[string]Options{
		"SCRAM-SHA-256-PLUS": withAccounts(accounts), // nothing to bind to
		"SCRAM-SHA-1-PLUS":   bound,                  // not listed
		"SCRAM-SHA-256":      {SCRAM: bound.SCRAM},
		"SCRAM-SHA-1":        {Listed: bound.Listed},
	} {
		if _, err := newExchange(mechanism, o); !errors.Is(err, ErrUnknownMechanism) || Known(mechanism, o) {
			t.Errorf("%s: %v", mechanism, err)
		}
	}
}

// Words that mean nothing, and a proof for other words than were said.
func TestSCRAMMalformed(t *testing.T) {
	o := withAccounts(map[string]*authlib.Account{"ann": {ClearPassword: "x"}})
	for _, said := range []string{
		"", "n", "n,,", "n,,n=ann", "z,,n=ann,r=a", "n,a=bob,n=ann,r=a", "n,b,n=ann,r=a", "n,,m=x,n=ann,r=a",
		"n,,n=a=n,r=a",
		"n,,n=,r=a", "n,,n=ann,x=a", "n,,n=x\ny,r=a", "n,,n=\x00,r=a",
	} {
		x, _ := newExchange("SCRAM-SHA-256", o)
		if _, done, err := x.Next([]byte(said)); done || !errors.Is(err, ErrMalformed) {
			t.Errorf("%q: %v, %v", said, done, err)
		}
	}
	for _, said := range []string{
		"", "c=biws", "c=biws,r=abc", "c=biws,r=abcNONCE,p=", "c=biws,r=abcNONCE,p=AAAA", "c=biws,r=abcNONCE,p=!",
		"c=biws,r=another,p=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
	} {
		x, _ := newExchange("SCRAM-SHA-256", o)
		x.(*scramServer).nonce = func() string { return "NONCE" }
		if _, _, err := x.Next([]byte("n,a=ann,n=ann,r=abc")); err != nil {
			t.Fatal(err)
		}
		said = strings.Replace(said, "biws", base64.StdEncoding.EncodeToString([]byte("n,a=ann,")), 1)
		if _, done, err := x.Next([]byte(said)); done || !errors.Is(err, ErrMalformed) {
			t.Errorf("%q: %v, %v", said, done, err)
		}
	}
}

// FuzzSCRAM: whatever a client says who does not know a password, it is not let in, and every error is one
// that the front end knows.
func FuzzSCRAM(f *testing.F) {
	f.Add("SCRAM-SHA-256", "n,,n=ann,r=abc", "c=biws,r=abcNONCE,p=AAAA", "")
	f.Add("SCRAM-SHA-256-PLUS", "p=tls-exporter,,n=ann,r=abc", "c=biws,r=abcNONCE,p=AAAA", "")
	f.Add("SCRAM-SHA-256", "y,a=ann,n=zoe,r=abc", "", "x")
	f.Add("SCRAM-SHA-1", "n,,n=a=3Db,r=,x=y", "c=biws,r=NONCE,x=y,p=AAAAAAAAAAAAAAAAAAAAAAAAAAA=", "")
	f.Add("SCRAM-SHA-1", "n,,n=keys,r=\x00", "c=,,p=", "")
	keys, err := scram.SHA256().Derive("long password that no fuzzer finds", []byte("salt"), 1)
	if err != nil {
		f.Fatal(err)
	}
	o := withAccounts(map[string]*authlib.Account{
		"ann":  {ClearPassword: "long password that no fuzzer finds"},
		"keys": {CryptPassword: "{SCRAM-SHA-256}" + keys.String()},
	})
	o.SCRAM.Iterations = 1
	o.Bindings = []Binding{{"tls-exporter", []byte("data")}}
	f.Fuzz(func(t *testing.T, mechanism, r1, r2, r3 string) {
		x, err := newExchange(mechanism, o)
		if err != nil || !strings.HasPrefix(strings.ToUpper(mechanism), "SCRAM") {
			return
		}
		x.(*scramServer).nonce = func() string { return "NONCE" }
		for _, said := range []string{r1, r2, r3} {
			challenge, done, err := x.Next([]byte(said))
			c := x.Credentials()
			if done || c.Account != nil {
				t.Fatalf("let in: %q, %q, %q", r1, r2, r3)
			}
			if c.User != "" && Check(c.User, "") != nil {
				t.Fatalf("user %q", c.User)
			}
			if err == nil {
				if strings.ContainsAny(string(challenge), "\r\n") && !strings.ContainsAny(r1, "\r\n") {
					t.Fatalf("challenge %q", challenge)
				}
				continue
			}
			for _, known := range []error{ErrMalformed, ErrBinding, ErrNoKeys, authlib.ErrRefused} {
				if errors.Is(err, known) {
					return
				}
			}
			if c.User == "down" {
				return
			}
			t.Fatalf("error %v", err)
		}
		t.Fatal("the exchange goes on")
	})
}
