package inetd

import (
	"slices"
	"testing"
	"time"
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
	if s.Number("N") != 12 || s.Number("YES") != 0 || !s.Yes("YES") || s.Yes("A") || s.Yes("NONE") {
		t.Error("Number or Yes")
	}
	want := []string{"A=1", "EMPTY=", "EQ=a=b", "N=12x", "YES=Yes"}
	if got := s.Environ(); !slices.Equal(got, want) {
		t.Errorf("Environ = %q, want %q", got, want)
	}
}

func TestSeconds(t *testing.T) {
	const def = 7 * time.Second
	for value, want := range map[string]time.Duration{
		"": def, "0": 0, "30": 30 * time.Second, "0030": 30 * time.Second, "316224000": maxSeconds * time.Second,
	} {
		got, err := Settings{"X": value}.Seconds("X", def)
		if err != nil || got != want {
			t.Errorf("Seconds(%q) = %v, %v; want %v", value, got, err, want)
		}
	}
	for _, value := range []string{"-1", "1.5", "30s", " 30", "316224001", "99999999999999999999999", "ten"} {
		_, err := Settings{"X_TIMEOUT": value}.Seconds("X_TIMEOUT", def)
		if want := "X_TIMEOUT=\"" + value + "\": must be a number of seconds from 0 to 316224000"; err == nil || err.Error() != want {
			t.Errorf("Seconds(%q): error %v, want %s", value, err, want)
		}
	}
}
