package config

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	environment := Environment([]string{"FROM_ENV=environment", "BOTH=environment"})
	for text, want := range map[string]map[string]string{
		"":                                  {},
		"# comment\n\n \t\n##NAME: X:0\n":   {},
		"A=1":                               {"A": "1"},
		"A=1\nA=2\n":                        {"A": "2"},
		"A=":                                {"A": ""},
		`A=""`:                              {"A": ""},
		"  A=x # comment":                   {"A": "x"},
		"A=x#y":                             {"A": "x#y"},
		`A="x # y"`:                         {"A": "x # y"},
		`A='$B "x" \n'`:                     {"A": `$B "x" \n`},
		`A=a"b c"'d e'f`:                    {"A": "ab cd ef"},
		"A=x\nB=$A-y\nC=\"${A}z $B\"\n":     {"A": "x", "B": "x-y", "C": "xz x-y"},
		"A=$NOT_SET":                        {"A": ""},
		"A=$FROM_ENV":                       {"A": "environment"},
		"BOTH=file\nA=$BOTH":                {"BOTH": "file", "A": "environment"},
		`A=a\ b\$c\\`:                       {"A": `a b$c\`},
		`A="\$x \"q\" \\ \n \` + "`" + `"`:  {"A": "$x \"q\" \\ \\n `"},
		"A=*?[x]!{}~@":                      {"A": "*?[x]!{}~@"},
		"A=http://h/x?y=1":                  {"A": "http://h/x?y=1"},
		"_a1=x":                             {"_a1": "x"},
		"A=\xc3\xa9\nB='\xff'":              {"A": "\xc3\xa9", "B": "\xff"},
		"A='x\ty'":                          {"A": "x\ty"},
		`TCPDOPTS="-nodnslookup -noident"`:  {"TCPDOPTS": "-nodnslookup -noident"},
		"A=\"$TLS_PROTOCOL\"":               {"A": ""},
		"A=$FROM_ENV$FROM_ENV.${FROM_ENV}x": {"A": "environmentenvironment.environmentx"},
	} {
		got := Raw{}
		if err := parseFile("f", text, environment, got); err != nil || !maps.Equal(got.Texts(), want) {
			t.Errorf("%q: %v, %v; want %v", text, got, err, want)
		}
	}
}

func TestParseErrors(t *testing.T) {
	for text, want := range map[string]string{
		"A=1\nexport A\n":        "f:2: only NAME=value is understood here",
		"A =1":                   "f:1: only NAME=value is understood here",
		"1A=1":                   "f:1: only NAME=value is understood here",
		"if true; then A=1; fi":  "f:1: only NAME=value is understood here",
		". /etc/courier/x":       "f:1: only NAME=value is understood here",
		"A=x y":                  `f:1: A: "y" after the value: a value with blanks has to be quoted`,
		"A=1 B=2":                `f:1: A: "B=2" after the value: a value with blanks has to be quoted`,
		"A=1;B=2":                `f:1: A: ';' is not understood here`,
		"A=$(date)":              "f:1: A: after $ only NAME or {NAME} is understood here",
		"A=`date`":               "f:1: A: '`' is not understood here",
		"A=\"`date`\"":           "f:1: A: '`' is not understood here",
		"A=${B:-x}":              "f:1: A: after $ only NAME or {NAME} is understood here",
		"A=$1":                   "f:1: A: after $ only NAME or {NAME} is understood here",
		"A=5$":                   "f:1: A: after $ only NAME or {NAME} is understood here",
		"A='x":                   "f:1: A: ' without its end",
		"A=\"x\nB=y\"":           "f:1: A: \" without its end\nf:2: B: \" without its end",
		"A=x\\\nB=2":             "f:1: A: a line cannot be continued on the next",
		"A=~/x":                  "f:1: A: ~ is not understood here",
		"\n\nA=x\x00y":           `f:3: control character '\x00'`,
		"A=1\r\nB=2\r\n":         "f:1: the line ends in CR LF: convert the file to Unix lines",
		"A=x&":                   `f:1: A: '&' is not understood here`,
		"A=(x)":                  `f:1: A: '(' is not understood here`,
		"\xef\xbb\xbfA=1":        "f:1: only NAME=value is understood here",
		"A=1\nB=2\nC='\nD=\"x\"": "f:3: C: ' without its end",
	} {
		err := parseFile("f", text, nil, Raw{})
		if err == nil || err.Error() != want {
			t.Errorf("%q: error %v, want %s", text, err, want)
		}
	}
}

// Every line that is not understood is named, and the others count.
func TestParseNamesEveryLine(t *testing.T) {
	got := Raw{}
	err := parseFile("f", "A=1\nexport A\nB=2\nC='\nD=3", nil, got)
	want := "f:2: only NAME=value is understood here\nf:4: C: ' without its end"
	if err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
	if d := cmp.Diff(Raw{"A": {"1", "f", 1}, "B": {"2", "f", 3}, "D": {"3", "f", 5}}, got); d != "" {
		t.Error(d)
	}
	err = parseFile("f", strings.Repeat("x\n", 1000), nil, Raw{})
	if lines := strings.Split(err.Error(), "\n"); len(lines) != maxFileErrors+1 ||
		lines[maxFileErrors] != "f: more lines are not understood" {
		t.Errorf("of 1000 bad lines: %d, the last %q", len(lines), lines[len(lines)-1])
	}
}

// Courier's own files as Debian installs them, read by us and sourced by the shell.
func TestParseCourierFiles(t *testing.T) {
	for _, name := range []string{"imapd", "imapd-ssl", "pop3d", "pop3d-ssl"} {
		path := filepath.Join("/etc/courier", name)
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		sameAsShell(t, string(text))
	}
}

func TestFilesInOrder(t *testing.T) {
	dir := t.TempDir()
	first, second := filepath.Join(dir, "first"), filepath.Join(dir, "second")
	write(t, first, "A=first\nB=first\nC=first\n")
	write(t, second, "B=second\nD=$A\nE=$C\n")
	got, err := readAll([]string{first, second}, []string{"C=environment"})
	want := Raw{"A": {"first", first, 1}, "B": {"second", second, 1}, "C": {Text: "environment"},
		"D": {"first", second, 2}, "E": {"environment", second, 3}}
	if d := cmp.Diff(want, got); d != "" || err != nil {
		t.Errorf("%v\n%s", err, d)
	}
	if _, err := readAll([]string{filepath.Join(dir, "none")}, nil); err == nil {
		t.Error("a missing file is no error")
	}
	write(t, second, "x")
	_, err = readAll([]string{first, second}, nil)
	if err == nil || !strings.HasPrefix(err.Error(), second+":1: ") {
		t.Errorf("error %v does not name the file", err)
	}
}

// What we take means to the shell what it means to us.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"A=1\n", "A='x y'\nB=\"$A z\"\n", `A=a\ b"\$"`, "A=$B${A}", "#x\nA=#",
		"A=\"\\a\"", "A=x#y #z", "A=''\"\"", "A=!*[a]{b,c}",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s := Raw{}
		if err := parseFile("f", text, nil, s); err != nil {
			return
		}
		for name := range s {
			// The shell has its own ideas of these.
			if shellOwn(name) {
				return
			}
		}
		sameAsShell(t, text)
	})
}

func shellOwn(name string) bool {
	switch name {
	case "OPTIND", "PATH", "IFS", "PWD", "_", "PS1", "PS2", "PS4",
		"MAIL", "MAILPATH", "MAILCHECK", "LINENO", "PPID", "LC_ALL", "LANG":
		return true
	}
	return strings.HasPrefix(name, "LC_") || strings.HasPrefix(name, "LD_")
}

// sameAsShell compares our reading of a file with what dash exports after sourcing it, as Courier's start
// scripts do.
func sameAsShell(t *testing.T, text string) {
	t.Helper()
	ours := Raw{}
	if err := parseFile("f", text, nil, ours); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "f")
	write(t, path, text)
	command := exec.Command("/bin/dash", "-c", `set -a; . "$0"; exec /usr/bin/env -0`, path)
	command.Env = []string{}
	out, err := command.Output()
	if err != nil {
		t.Fatalf("the shell does not take what we take: %v\n%q", err, text)
	}
	theirs := Environment(strings.Split(string(out), "\x00"))
	delete(theirs, "PWD")
	if !maps.Equal(ours.Texts(), theirs.Texts()) {
		t.Errorf("%q:\nours   %q\nshell's %q", text, ours.Texts(), theirs.Texts())
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
