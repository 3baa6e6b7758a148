package authlib

import "testing"

func TestSpelling(t *testing.T) {
	for _, test := range []struct {
		typed  string
		values []string
		want   string
	}{
		{"Ann@X", []string{"ann@x"}, "ann@x"}, {" ann@x ", []string{"bob@x", "Ann@x"}, "Ann@x"}, {"ann@x", nil,
			"ann@x"},
		{"alias@x", []string{"ann@x"}, "alias@x"}, {"JÜRGEN@x", []string{"jürgen@x"}, "jürgen@x"}, {"jurgen@x",
			[]string{"jürgen@x"}, "jurgen@x"},
	} {
		if got := Spelling(test.typed, test.values...); got != test.want {
			t.Errorf("Spelling(%q, %q) = %q, want %q", test.typed, test.values, got, test.want)
		}
	}
}
