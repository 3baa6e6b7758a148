package authlib

import (
	"strings"
	"testing"
)

func TestOptionsSwitch(t *testing.T) {
	for options, want := range map[Options]string{
		"": "off", "disableimap=1": "on", "disableimap=0": "off", "disableimap=YES": "on", "disableimap=no": "off",
		" disableimap = On , x": "on", "disableimap": "on", " disableimap ": "on", "disableimap=": "off",
		"disableimap=2": "on", "disableimapx=1": "off", "disableimap=0,disableimap=1": "off",
		"disableimap=maybe": "error", "disableimap=1x": "error",
	} {
		on, err := options.Switch("disableimap")
		got := map[bool]string{true: "on", false: "off"}[on]
		if err != nil {
			got = "error"
		}
		if got != want || err != nil && on {
			t.Errorf("%q: %s, %v; want %s", options, got, err, want)
		}
	}
}

func TestOptionsClean(t *testing.T) {
	const hint = ": blanks or semicolons separate mailhosts"
	for _, test := range []struct{ options, want, remarks string }{
		{"", "", ""},
		{"mailhost=a:1 b;c,disableimap=1", "mailhost=a:1 b;c,disableimap=1", ""},
		{" mailhost = a , disableimap = yes ,, disablepop3=off,", "mailhost=a,disableimap=1,disablepop3=off", ""},
		{"disableimap,disablepop3=,disableinsecureimap=5", "disableimap=1,disablepop3=,disableinsecureimap=5", ""},
		{"mailhost=a,b , c,x=1", "mailhost=a,b,c,x=1",
			`option "b" has no value` + hint + `|option "c" has no value` + hint},
		{"x=1,shared", "x=1,shared", `option "shared" has no value`},
		{"x=1,disableimap=maybe", "error",
			`option disableimap="maybe": must be yes, no, true, false, on, off, 1 or 0`},
	} {
		clean, remarks, err := Options(test.options).Clean()
		got, said := string(clean), strings.Join(remarks, "|")
		if err != nil {
			got, said = "error", err.Error()
		}
		if got != test.want || said != test.remarks {
			t.Errorf("%q: %q, %q; want %q, %q", test.options, got, said, test.want, test.remarks)
		}
	}
}

// FuzzOptionsClean: what was cleaned is clean, and means the same to us as before.
func FuzzOptionsClean(f *testing.F) {
	f.Add("mailhost = a,b, disableimap=yes,disablepop3")
	f.Fuzz(func(t *testing.T, text string) {
		clean, _, err := Options(text).Clean()
		if err != nil {
			return
		}
		if again, _, err := clean.Clean(); again != clean || err != nil {
			t.Errorf("%q became %q and then %q, %v", text, clean, again, err)
		}
		for _, name := range switches {
			before, err := Options(text).Switch(name)
			after, err2 := clean.Switch(name)
			if before != after || err != nil || err2 != nil {
				t.Errorf("%q became %q: %s is %v, %v and %v, %v", text, clean, name, before, err, after, err2)
			}
			// Courier reads the number of the first option of that name.
			if value, _ := clean.Get(name); (atoi(value) != 0) != after {
				t.Errorf("%q became %q: %s is %v for us only", text, clean, name, after)
			}
		}
		host, _ := Options(text).Get("mailhost")
		if same, _ := clean.Get("mailhost"); same != host {
			t.Errorf("%q became %q: mailhost %q", text, clean, same)
		}
	})
}

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
		if got := atoi(in); got != want {
			t.Errorf("atoi(%q) = %d, want %d", in, got, want)
		}
	}
}
