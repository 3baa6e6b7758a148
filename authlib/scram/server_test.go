package scram

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"
)

// examples are the exchanges of RFC 5802 section 5 and RFC 7677 section 3, whose password is "pencil".
var examples = []struct {
	hash                             Hash
	salt, nonce                      string
	first, serverFirst, final, proof string
}{
	{
		SHA1(), "QSXCR+Q6sek8bf92", "3rfcNHYJY1ZVvWVs7j",
		"n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL",
		"r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
		"c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
		"v=rmF9pqV8S7suAoZWja4dJRkFsKQ=",
	},
	{
		SHA256(), "W22ZaJ0SNY7soEsUEjb6gQ==", "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
		"n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
		"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
		"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0," +
			"p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
		"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
	},
}

// pencil are the keys of the examples' password.
func pencil(t *testing.T, h Hash, salt string) Keys {
	t.Helper()
	raw, err := base64.StdEncoding.DecodeString(salt)
	if err != nil {
		t.Fatal(err)
	}
	k, err := h.Derive("pencil", raw, 4096)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestServer(t *testing.T) {
	for _, e := range examples {
		k := pencil(t, e.hash, e.salt)
		m, err := ParseClientFirst(e.first)
		if err != nil || m.User != "user" || m.AuthzID != "" || m.Flag != CannotBind {
			t.Fatalf("%s: %+v, %v", e.hash.Name, m, err)
		}
		s, said := e.hash.Begin(m, e.nonce, k)
		if said != e.serverFirst {
			t.Errorf("%s: says %q, want %q", e.hash.Name, said, e.serverFirst)
		}
		if proof, err := s.Finish(e.final, nil, k); proof != e.proof || err != nil {
			t.Errorf("%s: says %q, %v, want %q", e.hash.Name, proof, err, e.proof)
		}
		// Each part of the final message counts.
		for change, want := range map[string]error{
			"c=biws\x00c=eSws":    ErrBinding, // "y,,"
			"c=biws\x00c=bi\nws":  errMalformed,
			"r=\x00r=x":           errMalformed,
			",p=\x00,x=y,p=":      ErrProof, // an extension that the proof does not cover
			",p=\x00,p=AAAA":      errMalformed,
			"=" + "\x00":          errMalformed,
			"r=fyko\x00r=Fyko":    errMalformed,
			"r=rOpr\x00r=rOpR":    errMalformed,
			"p=v0X8\x00p=v0X9":    ErrProof,
			"p=dHzb\x00p=dHzc":    ErrProof,
			",r=\x00,x=y,r=":      errMalformed,
			"c=biws,\x00":         errMalformed,
			e.final + "\x00":      errMalformed,
			e.final + "\x00c=,p=": errMalformed,
		} {
			old, changed, _ := strings.Cut(change, "\x00")
			final := strings.Replace(e.final, old, changed, 1)
			if final == e.final {
				continue // for the other example
			}
			if proof, err := s.Finish(final, nil, k); proof != "" || !errors.Is(err, want) {
				t.Errorf("%q: %q, %v, want %v", final, proof, err, want)
			}
		}
		k.Stored[0] ^= 1
		if proof, err := s.Finish(e.final, nil, k); proof != "" || !errors.Is(err, ErrProof) {
			t.Errorf("%s with other keys: %q, %v", e.hash.Name, proof, err)
		}
	}
}

// Section numbers are those of RFC 5802.
func TestParseClientFirst(t *testing.T) {
	for _, c := range []struct {
		message string
		want    *ClientFirst
	}{
		{"p=tls-exporter,a=bob,n=ann,r=x", &ClientFirst{Flag: Binds, Type: "tls-exporter", AuthzID: "bob",
			User: "ann", header: "p=tls-exporter,a=bob,", bare: "n=ann,r=x", nonce: "x"}},
		{"y,,n=a=2Cb=3D=3d,r=x", nil}, // 5.1: in upper case only
		{"y,,n=a=2Cb=3D,r=x,e=1", &ClientFirst{Flag: ServerCannot, User: "a,b=", header: "y,,",
			bare: "n=a=2Cb=3D,r=x,e=1", nonce: "x"}},
		{"n,,n==3D2C,r=x", &ClientFirst{Flag: CannotBind, User: "=2C", header: "n,,", bare: "n==3D2C,r=x",
			nonce: "x"}},
		{"n,,m=x,n=ann,r=x", nil}, // 5.1: an extension that must be understood
		{"n,,n=ann,r=", nil},
		{"n,,n=ann,r=\u00e4", nil},
		{"n,,n=ann,r= ", nil},
		{"n,,n=ann,R=x", nil},
		{"n,,n=ann", nil},
		{"n,,r=x,n=ann", nil},
		{"n,bob,n=ann,r=x", nil},
		{"p=,,n=ann,r=x", nil},
		{"p,,n=ann,r=x", nil},
		{"nn,,n=ann,r=x", nil},
		{",,n=ann,r=x", nil},
		{"n,", nil},
		{"", nil},
	} {
		m, err := ParseClientFirst(c.message)
		switch {
		case c.want == nil && (m != nil || !errors.Is(err, errMalformed)):
			t.Errorf("%q: %+v, %v", c.message, m, err)
		case c.want != nil && (err != nil || *m != *c.want):
			t.Errorf("%q: %+v, %v, want %+v", c.message, m, err, c.want)
		}
	}
}

// The data of a channel binding follow the header, and count only where the client binds.
func TestServerBinding(t *testing.T) {
	k := pencil(t, SHA256(), "W22ZaJ0SNY7soEsUEjb6gQ==")
	for _, c := range []struct {
		header, channel string
		want            error
	}{
		{"p=tls-exporter,,", "p=tls-exporter,,data", ErrProof},
		{"p=tls-exporter,,", "p=tls-exporter,,other", ErrBinding},
		{"p=tls-exporter,,", "p=tls-exporter,,", ErrBinding},
		{"n,,", "n,,", ErrProof},
		{"n,,", "n,,data", ErrBinding},
		{"y,,", "n,,", ErrBinding},
	} {
		m, err := ParseClientFirst(c.header + "n=user,r=x")
		if err != nil {
			t.Fatal(err)
		}
		s, _ := SHA256().Begin(m, "y", k)
		final := "c=" + base64.StdEncoding.EncodeToString([]byte(c.channel)) + ",r=xy,p=" +
			base64.StdEncoding.EncodeToString(make([]byte, SHA256().Size))
		if _, err := s.Finish(final, []byte("data"), k); !errors.Is(err, c.want) {
			t.Errorf("%q with %q: %v, want %v", c.header, c.channel, err, c.want)
		}
	}
}

func TestNonce(t *testing.T) {
	a, b := Nonce(), Nonce()
	if a == b || len(a) < 24 || !printable(a) || strings.Contains(a, ",") {
		t.Errorf("%q and %q", a, b)
	}
}

// FuzzServer: nobody gets in without the proof of the examples, and what is read is what was written.
func FuzzServer(f *testing.F) {
	for _, e := range examples {
		f.Add(e.first, e.final)
	}
	f.Add("p=tls-exporter,a=x=2Cy,n=user,r=x", "c=cD10bHMtZXhwb3J0ZXIsLA==,r=xNONCE,p=AAAA")
	f.Add("y,,n=a=3D,r=x,e=1", "c=eSws,r=xNONCE,x=y,p=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")
	k, err := SHA256().Derive("a password that no fuzzer finds", []byte("salt"), 1)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, first, final string) {
		m, err := ParseClientFirst(first)
		if err != nil {
			if !errors.Is(err, errMalformed) {
				t.Fatal(err)
			}
			return
		}
		if m.header+m.bare != first {
			t.Fatalf("%q is read as %q and %q", first, m.header, m.bare)
		}
		s, said := SHA256().Begin(m, "NONCE", k)
		if !strings.HasPrefix(said, "r="+m.nonce+"NONCE,s=") {
			t.Fatalf("%q is answered with %q", first, said)
		}
		_, err = s.Finish(final, []byte("data"), k)
		if !errors.Is(err, errMalformed) && !errors.Is(err, ErrBinding) && !errors.Is(err, ErrProof) {
			t.Fatalf("%q, %q: %v", first, final, err)
		}
	})
}
