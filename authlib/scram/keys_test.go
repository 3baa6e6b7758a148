package scram

import (
	"errors"
	"strings"
	"testing"
)

// What Dovecot (doveadm pw) and GNU SASL (gsasl -k) have written.
const (
	dovecot256 = "4096,KcyCXySG0RFnuXF5XgZoyw==,hYcuzjzEA2U2SDq674R1Y5412XZAuCEXxmJWJHzvJ7Y=," +
		"/Q7OpA7Uc3LW5ESMcK86iN6I5TZ+NltAhn/xKeSrx4Y="
	dovecot1 = "4096,f78kT4wJ9OX8HXGedx/RAQ==,uJuZ0QM+q48A33A+/n0oD1sFgNA=,d96HUZsiDmsRS/7Tmfy8CfD5NJ8="
	gsasl256 = "4096,SHhdDLAaF85ZFAB7,XDWft7SDtDx0Na1yAIcTLS7QZLEAiwpfbSu/cbmeWSg=," +
		"l/LKQunQo+xWGCAmDpA0JVGSM9ossRv/9d65Kj2xAX8="
)

func TestKeys(t *testing.T) {
	for _, c := range []struct {
		hash        Hash
		text, clear string
	}{
		{SHA256(), dovecot256, "p\u00e4ssw\u00f6rd"},
		{SHA256(), dovecot256, "pa\u0308sswo\u0308rd"}, // typed on a machine that takes letters apart
		{SHA1(), dovecot1, "p\u00e4ssw\u00f6rd"},
		{SHA256(), gsasl256, "pw"},
	} {
		k, err := c.hash.Parse(c.text)
		if err != nil || k.String() != c.text {
			t.Errorf("%s: %v, written %q", c.text, err, k)
			continue
		}
		if ok, err := c.hash.Verify(k, c.clear); !ok || err != nil {
			t.Errorf("%s and %q: %v, %v", c.text, c.clear, ok, err)
		}
		if ok, err := c.hash.Verify(k, c.clear+"x"); ok || err != nil {
			t.Errorf("%s and another password: %v, %v", c.text, ok, err)
		}
		made, err := c.hash.Derive(c.clear, k.Salt, k.Iterations)
		if err != nil || made.String() != c.text {
			t.Errorf("%s: derived %q, %v", c.text, made, err)
		}
		if _, ok, err := c.hash.Find("{" + strings.ToLower(c.hash.Name) + "}" + c.text); !ok || err != nil {
			t.Errorf("%s is not found: %v, %v", c.text, ok, err)
		}
	}
}

func TestMake(t *testing.T) {
	one, err := SHA256().Make("pw", 4096)
	two, err2 := SHA256().Make("pw", 4096)
	if err != nil || err2 != nil || one.String() == two.String() || len(one.Salt) != saltSize {
		t.Errorf("%v, %v: %q and %q", err, err2, one, two)
	}
	if ok, err := SHA256().Verify(one, "pw"); !ok || err != nil {
		t.Errorf("%v, %v", ok, err)
	}
}

func TestDamaged(t *testing.T) {
	field := strings.Split(dovecot256, ",")
	with := func(i int, text string) string {
		f := append([]string{}, field...)
		f[i] = text
		return strings.Join(f, ",")
	}
	for _, text := range []string{
		"", "4096", dovecot256 + ",",
		with(0, ""), with(0, "0"), with(0, "-1"), with(0, "10000001"), with(0, "4096 "),
		with(1, ""), with(1, "!"), with(2, ""), with(2, field[1]), with(3, ""), with(3, field[1]), dovecot1,
	} {
		if k, err := SHA256().Parse(text); !errors.Is(err, errDamaged) {
			t.Errorf("%q: %v, %v", text, k, err)
		}
	}
	for stored, want := range map[string]error{
		"{SCRAM-SHA-256}" + field[0]: errDamaged,
		"{SCRAM-SHA-1}" + dovecot1:   nil, "{SHA}x": nil, "": nil, "{SCRAM": nil,
	} {
		if _, ok, err := SHA256().Find(stored); ok != (want != nil) || !errors.Is(err, want) {
			t.Errorf("%q: %v, %v", stored, ok, err)
		}
	}
}

// SASLprep leaves what it does not allow as it is: old passwords are in Latin-1.
func TestPrepare(t *testing.T) {
	for in, want := range map[string]string{
		"pw": "pw", "": "", "I\u00adX": "IX", "\u2168": "IX", "a\u00a0b": "a b",
		"\xe4": "\xe4", "a\x07": "a\x07", "\u00ad": "\u00ad",
	} {
		if got := prepare(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

// FuzzParse: what is read is written again with the same meaning.
func FuzzParse(f *testing.F) {
	for _, text := range []string{dovecot256, dovecot1, gsasl256, "1,AA==,,", ",,,", "4096,SHhd,XDWf,l/LK"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, h := range []Hash{SHA1(), SHA256()} {
			k, err := h.Parse(text)
			if err != nil {
				if !errors.Is(err, errDamaged) {
					t.Fatal(err)
				}
				continue
			}
			again, err := h.Parse(k.String())
			if err != nil || again.String() != k.String() || len(k.Stored) != h.Size || k.Iterations < 1 {
				t.Fatalf("%q: %v, %q and %q", text, err, k, again)
			}
		}
	})
}
