package shellfile

import "testing"

func TestAssignment(t *testing.T) {
	lookup := func(name string) string { return map[string]string{"A": "x y"}[name] }
	const after = " after the value: a value with blanks has to be quoted"
	for text, want := range map[string][3]string{
		"":                              {},
		"  # comment":                   {},
		"A=b":                           {"A", "b"},
		" A=b ":                         {"A", "b"},
		`A="b c"   # comment`:           {"A", "b c"},
		`A="b"# no comment`:             {"A", "", `A: "no comment"` + after},
		"A=b#c":                         {"A", "b#c"},
		`A='$A "'"$A"${A}\$`:            {"A", `$A "x yx y$`},
		"A=":                            {"A", ""},
		"A=b c":                         {"A", "", `A: "c"` + after},
		`A="b`:                          {"A", "", "A: \" without its end"},
		"A =b":                          {"", "", "only NAME=value is understood here"},
		"A=b\r":                         {"", "", ErrCRLF.Error()},
		"export A":                      {"", "", "only NAME=value is understood here"},
		"A=b\x01":                       {"", "", `control character '\x01'`},
		"A=`id`":                        {"A", "", "A: '`' is not understood here"},
		"0A=b":                          {"", "", "only NAME=value is understood here"},
		"DEFAULTOPTIONS=\"a=1,b=2\" #c": {"DEFAULTOPTIONS", "a=1,b=2"},
	} {
		name, value, err := Assignment(text, lookup)
		got := [3]string{name, value}
		if err != nil {
			got[2] = err.Error()
		}
		if got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func FuzzAssignment(f *testing.F) {
	f.Add("A='b'\"c $D\"\\e # f")
	f.Fuzz(func(t *testing.T, text string) {
		name, value, err := Assignment(text, func(string) string { return "" })
		if err != nil || name == "" {
			if value != "" {
				t.Errorf("%q: a value without a setting: %q", text, value)
			}
			return
		}
		again, same, err := Assignment("  "+text+"  # more", func(string) string { return "" })
		if again != name || same != value || err != nil {
			t.Errorf("%q: blanks and a comment make %q=%q of %q=%q: %v", text, again, same, name, value, err)
		}
	})
}
