package transcript

import (
	"net"
	"path/filepath"
	"strings"
	"testing"
)

// Files returns the dialogues of all files that match the pattern. It ends the test when there is none.
func Files(t testing.TB, pattern string) []*Script {
	t.Helper()
	names, err := filepath.Glob(pattern)
	if err != nil || len(names) == 0 {
		t.Fatalf("no file matches %s (%v)", pattern, err)
	}
	var all []*Script
	for _, name := range names {
		scripts, err := ParseFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, scripts...)
	}
	return all
}

// Play plays a dialogue written in Go source as the client on conn, and ends the test when it goes
// otherwise. The runner is returned to go on with.
func Play(t testing.TB, conn net.Conn, text string) *Runner {
	t.Helper()
	r := &Runner{Conn: conn}
	r.MustPlay(t, text)
	return r
}

// MustPlay plays a dialogue written in Go source, and ends the test when it goes otherwise.
func (r *Runner) MustPlay(t testing.TB, text string) {
	t.Helper()
	for _, script := range MustParse(t, text) {
		if err := r.Play(script); err != nil {
			t.Fatal(err)
		}
	}
}

// MustParse parses dialogues written in Go source. Tabs in front of lines are dropped, so that the text
// can be indented.
func MustParse(t testing.TB, text string) []*Script {
	t.Helper()
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = strings.TrimLeft(line, "\t")
	}
	scripts, err := Parse("dialogue", strings.NewReader(strings.Join(lines, "\n")))
	if err != nil {
		t.Fatal(err)
	}
	return scripts
}
