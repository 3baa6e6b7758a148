package facts

import (
	"fmt"
	"maps"
	"strings"
	"testing"
)

func TestExternal(t *testing.T) {
	type fields map[string]string
	for _, c := range []struct {
		external string
		subject  fields
		want     string
	}{
		{"", fields{"CN": "x"}, ""},
		{"cn", fields{"CN": "x"}, "x"},
		{" cn ", fields{"cn": "x"}, "x"},
		{"cn", fields{"CN": "x\ny"}, ""},
		{"cn", fields{"CN": "x\u0085y"}, ""},
		{"cn", fields{"CN": strings.Repeat("x", maxValue+1)}, ""},
		{"cn", fields{"O": "x"}, ""},
		{"emailaddress", fields{AltName: "a@b"}, "a@b"},
		{"emailaddress", fields{AltName: "a@b", "EMAILADDRESS": "c@d"}, "c@d"},
		{"subjectAltName", fields{AltName: "a@b", "EMAILADDRESS": "c@d"}, "a@b"},
	} {
		facts := Over("TLS1.3")
		for field, value := range c.subject {
			facts = facts.With(field, value)
		}
		if got := facts.External(c.external); got != c.want {
			t.Errorf("%+v: %q", c, got)
		}
	}
}

// Whatever is told, the variables have known names and harmless values.
func TestVariables(t *testing.T) {
	facts := Over("TLSv1.3").With("CN", "joe").With("CN", "jim").With("O", "a").With("O",
		"b\n").With("X=LD_PRELOAD", "evil").
		With("LD PRELOAD", "x").With("", "x").With("C\n", "x").With(strings.Repeat("X", maxName+1),
		"x").With("emailAddress", "a@b")
	want := map[string]string{"TLS_CONNECTED_PROTOCOL": "TLSv1.3", "TLS_SUBJECT_CN": "jim",
		"TLS_SUBJECT_EMAILADDRESS": "a@b"}
	if got := facts.Variables(); !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	for _, protocol := range []string{"", "TLS\nv1", strings.Repeat("x", maxValue+1)} {
		if got := Over(protocol).Variables(); !maps.Equal(got, map[string]string{"TLS_CONNECTED_PROTOCOL": "TLS"}) {
			t.Errorf("%q: %v", protocol, got)
		}
	}
	for i := range 100 {
		facts = facts.With(fmt.Sprint("F", i), "x")
	}
	if n := len(facts.Variables()); n != maxFields+1 {
		t.Errorf("%d variables", n)
	}
	// Who is not encrypted has no certificate.
	if got := (TLS{}).With("CN", "joe"); got.Encrypted() || got.External("CN") != "" ||
		len(got.Variables()) != 0 {
		t.Errorf("without TLS: %v", got.Variables())
	}
}

// A value that was passed on is not changed by what is learned later.
func TestValue(t *testing.T) {
	first := Over("x").With("CN", "joe")
	if first.With("CN", "jim"); first.External("CN") != "joe" {
		t.Error("With changed its receiver")
	}
}

func TestExtract(t *testing.T) {
	settings := map[string]string{
		"TLS_CONNECTED_PROTOCOL": "TLS1.3,256bits,X", "TLS_SUBJECT_CN": "joe", "TLS_SUBJECT_O": "a\nb",
		"TLS_SUBJECT_": "x",
		"TLS_EXTERNAL": "cn", "TLS_CERTFILE": "z",
	}
	facts := Extract(settings)
	if !maps.Equal(settings, map[string]string{"TLS_EXTERNAL": "cn", "TLS_CERTFILE": "z"}) {
		t.Errorf("left: %v", settings)
	}
	if got := facts.Variables(); !maps.Equal(got, map[string]string{"TLS_CONNECTED_PROTOCOL": "TLS1.3,256bits,X",
		"TLS_SUBJECT_CN": "joe"}) {
		t.Errorf("taken: %v", got)
	}
	if Extract(map[string]string{"TLS_SUBJECT_CN": "joe"}).External("cn") != "" {
		t.Error("a subject without TLS")
	}
}
