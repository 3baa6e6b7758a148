package authlib

import "testing"

func TestOptions(t *testing.T) {
	o := Options("mailhost=a:1,disableimap=1,shared")
	for key, want := range map[string]string{"mailhost": "a:1", "disableimap": "1", "shared": ""} {
		if got, ok := o.Get(key); !ok || got != want {
			t.Errorf("Get(%q) = %q, %v; want %q", key, got, ok, want)
		}
	}
	if _, ok := o.Get("mail"); ok {
		t.Error("a prefix of a key was taken for the key")
	}
	want := Options("mailhost=a:1,disableimap=1,shared,group=x,y=2")
	if got := o.Merge("disableimap=0,group=x,,y=2"); got != want {
		t.Errorf("Merge = %q, want %q", got, want)
	}
	if got := Options("").Merge("a=1"); got != "a=1" {
		t.Errorf("Merge into nothing = %q", got)
	}
}

func TestAtoi(t *testing.T) {
	for in, want := range map[string]int{
		"": 0, "1": 1, " 12x": 12, "-3": -3, "+4": 4, "YES": 0, "99999999999": 1<<31 - 1, "0x10": 0,
	} {
		if got := Atoi(in); got != want {
			t.Errorf("Atoi(%q) = %d, want %d", in, got, want)
		}
	}
}

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
