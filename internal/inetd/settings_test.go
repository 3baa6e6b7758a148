package inetd

import (
	"slices"
	"testing"
)

func TestSettings(t *testing.T) {
	s := NewSettings([]string{"A=1", "A=2", "=x", "B", "YES=Yes", "EMPTY=", "EQ=a=b", "N=12x"})
	for name, want := range map[string]string{"A": "1", "B": "", "EMPTY": "", "EQ": "a=b"} {
		if got := s.Get(name); got != want {
			t.Errorf("Get(%s) = %q, want %q", name, got, want)
		}
	}
	if _, ok := s.Lookup("EMPTY"); !ok {
		t.Error("EMPTY is not set")
	}
	if _, ok := s.Lookup("B"); ok {
		t.Error("B is set")
	}
	want := []string{"A=1", "EMPTY=", "EQ=a=b", "N=12x", "YES=Yes"}
	if got := s.Environ(); !slices.Equal(got, want) {
		t.Errorf("Environ = %q, want %q", got, want)
	}
}
