package config

import (
	"slices"
	"testing"
)

func TestEnvironment(t *testing.T) {
	raw := Environment([]string{"A=1", "A=2", "=x", "B", "EMPTY=", "EQ=a=b"})
	for name, want := range map[string]string{"A": "1", "B": "", "EMPTY": "", "EQ": "a=b"} {
		if got := raw.Get(name); got != want {
			t.Errorf("Get(%s) = %q, want %q", name, got, want)
		}
	}
	if _, ok := raw.Lookup("EMPTY"); !ok {
		t.Error("EMPTY is not set")
	}
	if _, ok := raw.Lookup("B"); ok {
		t.Error("B is set")
	}
	want := []string{"A=1", "EMPTY=", "EQ=a=b"}
	if got := raw.environ(); !slices.Equal(got, want) {
		t.Errorf("Environ = %q, want %q", got, want)
	}
}

func TestSource(t *testing.T) {
	for want, v := range map[string]Value{
		"environment": {Text: "x"}, "/etc/x:7": {Text: "x", File: "/etc/x", Line: 7},
	} {
		if got := v.source(); got != want {
			t.Errorf("%+v: %q, want %q", v, got, want)
		}
	}
}
