package hostlist

import (
	"net/netip"
	"strings"
	"testing"
)

func TestName(t *testing.T) {
	l, err := Parse("mail.example.com,Store1 *.in.Example.com\t*.org.  10.0.0.0/8")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{
		"mail.example.com": true, "MAIL.example.com.": true, "store1": true, "store": false, "store10": false,
		"example.com":      false,
		"a.in.example.com": true, "a.b.IN.example.com.": true, "in.example.com": false, "xin.example.com": false,
		".in.example.com":  false,
		"evil.example.com": false, "mail.example.com.evil.net": false, "x.org": true, "org": false, "": false,
		"10.0.0.1": false,
	} {
		if got := l.Name(name); got != want {
			t.Errorf("%q: %v", name, got)
		}
	}
}

func TestAddress(t *testing.T) {
	l, err := Parse("192.0.2.0/24 2001:db8::/32,198.51.100.7 ::ffff:203.0.113.0/120 ::1")
	if err != nil {
		t.Fatal(err)
	}
	for addr, want := range map[string]bool{
		"192.0.2.7": true, "192.0.3.7": false, "::ffff:192.0.2.7": true, "198.51.100.7": true,
		"198.51.100.8": false, "203.0.113.9": true,
		"2001:db8::7": true, "2001:db9::7": false, "::1": true, "::2": false, "2001:db8::7%eth0": true,
	} {
		if got := l.Address(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s: %v", addr, got)
		}
	}
}

func TestParse(t *testing.T) {
	for text, want := range map[string]bool{
		"": true, " , ": true, "a": true, "a,b c": true, "*.a": true, "a_b.c": true, "1a": true,
		"*": false, "*a": false, "a.*": false, "*.*.a": false, "*.": false, "a..b": false, "-a": false,
		"a/24": false, "192.0.2.0/33": false,
		"192.0.2.1/24": false, "192.0.2": false, "300.0.0.1": false, "a:143": false, "[::1]": false,
		"fe80::1%eth0":        false,
		"::ffff:192.0.2.0/64": false, "a;b": false, "ä.example": false, strings.Repeat("a", 254): false,
	} {
		l, err := Parse(text)
		if (err == nil) != want {
			t.Errorf("%q: %v", text, err)
		}
		if err != nil && !l.Empty() {
			t.Errorf("%q: an error, and a list", text)
		}
	}
	if l, _ := Parse(" "); !l.Empty() || l.Networks() || l.Name("a") ||
		l.Address(netip.MustParseAddr("192.0.2.1")) {
		t.Error("the empty list holds something")
	}
	if l, _ := Parse("10.0.0.0/8"); l.Empty() || !l.Networks() {
		t.Error("a network is nothing")
	}
}

// A pattern lets through what ends in it, and nothing else.
func FuzzParse(f *testing.F) {
	f.Add("*.example.com", "a.example.com")
	f.Add("10.0.0.0/8 a", "a")
	f.Fuzz(func(t *testing.T, text, name string) {
		l, err := Parse(text)
		if err != nil || !l.Name(name) {
			return
		}
		plain := strings.ToLower(strings.TrimSuffix(name, "."))
		lower := strings.ToLower(text)
		if i := strings.IndexByte(plain, '.'); !strings.Contains(lower, plain) &&
			(i < 0 || !strings.Contains(lower, "*.")) {
			t.Errorf("%q lets %q through", text, name)
		}
	})
}
