package rcfile

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

const end = "##NAME: MARKER:0\n"

func TestParse(t *testing.T) {
	for _, test := range []struct {
		name, text string
		want       map[string]string
	}{
		{"blanks and tabs", "A 1\nB\t 2 3\t \n" + end, map[string]string{"A": "1", "B": "2 3"}},
		{"the first setting counts", "A 1\nA 2\n" + end, map[string]string{"A": "1"}},
		{"an empty setting counts", "A\nA 2\n" + end, map[string]string{"A": ""}},
		{"continuation", "Q select 'x', \\\n\t  y   \\  \n from z\nB 1\n" + end,
			map[string]string{"Q": "select 'x', y from z", "B": "1"}},
		{"value on the next line", "Q   \\\n   host=h  \\\n\tport=1\n" + end,
			map[string]string{"Q": "host=h port=1"}},
		{"continuation at the end", end + "Q a\\", map[string]string{"Q": "a"}},
		{"comments", "# A 1\n #B 2 \\\nC 3 # not one\n" + end, map[string]string{"C": "3 # not one"}},
		{"CRLF", "A 1\r\nB 2 \\\r\n  3\r\n##NAME: MARKER:0\r\n", map[string]string{"A": "1", "B": "2 3"}},
		{"marker first", end + "A 1\n", map[string]string{"A": "1"}},
		{"marker as the last words", "A 1\n##NAME: MARKER:", map[string]string{"A": "1"}},
	} {
		s, err := Parse(test.text)
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		for name, want := range test.want {
			if got, ok := s.values[name]; got != want || !ok {
				t.Errorf("%s: %s = %q, want %q", test.name, name, got, want)
			}
		}
		if len(s.values) != len(test.want) {
			t.Errorf("%s: settings %q, want %q", test.name, s.values, test.want)
		}
	}
	for _, text := range []string{"", "A 1\n", " ##NAME: MARKER:0\n", "#NAME: MARKER:0\n",
		"##name: marker:0\n"} {
		if _, err := Parse(text); !errors.Is(err, errNoMarker) {
			t.Errorf("Parse(%q) = %v, want ErrNoMarker", text, err)
		}
	}
}

func TestGetters(t *testing.T) {
	s, err := Parse("A\nB 12x\nC c\nN 12\nOn yes\nOff FALSE\n" + end)
	if err != nil {
		t.Fatal(err)
	}
	if got := s.First("A", "none", "C", "B"); got != "c" {
		t.Errorf("First = %q", got)
	}
	if got := s.Default("A", "d") + s.Default("C", "d"); got != "dc" {
		t.Errorf("Default = %q", got)
	}
	for name, want := range map[string]string{"N": "12 <nil>", "A": "0 <nil>", "none": "0 <nil>",
		"B": `0 B: "12x" is not a number`} {
		n, err := s.Number(name)
		if got := fmt.Sprint(n, " ", err); got != want {
			t.Errorf("Number(%s) = %s, want %s", name, got, want)
		}
	}
	for name, want := range map[string]string{"On": "true <nil>", "Off": "false <nil>", "A": "false <nil>",
		"N": "true <nil>", "C": `false C: "c": must be yes, no, true, false, on, off, 1 or 0`} {
		on, err := s.Switch(name)
		if got := fmt.Sprint(on, " ", err); got != want {
			t.Errorf("Switch(%s) = %s, want %s", name, got, want)
		}
	}
}

func TestMisspelt(t *testing.T) {
	s, err := Parse("# x\nMYSQL_SERVER a\nMYSQL_SEVRER b \\\n c\nmysql_port 3\nSOMETHING_ELSE 1\n" +
		"MYSQL_PROT 1\n" + end)
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Join(s.misspelt([]string{"MYSQL_SERVER", "MYSQL_PORT"}), "\n")
	want := "3: MYSQL_SEVRER is not a setting: is MYSQL_SERVER meant?\n" +
		"5: mysql_port is not a setting: is MYSQL_PORT meant?\n" +
		"7: MYSQL_PROT is not a setting: is MYSQL_PORT meant?"
	if got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
}

// FuzzParse checks that what was parsed, written down plainly, parses to the same settings.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{"A 1\n" + end, "A \\\n b\\\n", end + "A\r\n", "\x00 \\\n\\\n" + end,
		"A  \xff\\\\\n" + end} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := Parse(text)
		if err != nil {
			return
		}
		plain := end
		for name, value := range s.values {
			if len(value) > 0 && value[len(value)-1] == '\\' || name[len(name)-1] == '\\' {
				return // only a value that a continuation left behind ends so
			}
			plain += name + "\t" + value + "\n"
		}
		again, err := Parse(plain)
		if err != nil {
			t.Fatalf("Parse(%q): %v", plain, err)
		}
		for name, value := range s.values {
			if again.values[name] != value {
				t.Fatalf("%q: %q became %q", name, value, again.values[name])
			}
		}
		if len(again.values) != len(s.values) {
			t.Fatalf("%q became %q", s.values, again.values)
		}
	})
}
