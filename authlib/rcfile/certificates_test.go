package rcfile

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestAuthorities: what cannot be used is an error with the name of the setting. tests/db shows that
// databases are trusted by what can.
func TestAuthorities(t *testing.T) {
	empty := t.TempDir()
	text := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(text, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ file, directory, err string }{
		{"", "", ""},
		{"/nonexistent", "", "FILE: open /nonexistent: no such file or directory"},
		{"/nonexistent", empty, "FILE: open /nonexistent: no such file or directory"},
		{text, "", "FILE, DIRECTORY: no certificate in them"},
		{"", empty, "FILE, DIRECTORY: no certificate in them"},
		{"", filepath.Dir(text), "FILE, DIRECTORY: no certificate in them"},
		{"", "[", "DIRECTORY: syntax error in pattern"},
	} {
		pool, err := Authorities(Setting{"FILE", test.file}, Setting{"DIRECTORY", test.directory})
		got := ""
		if err != nil {
			got = err.Error()
		}
		if pool != nil || (got == "") != (test.err == "") || !strings.HasPrefix(got, test.err) {
			t.Errorf("%q, %q: %v, %v; want %q", test.file, test.directory, pool, err, test.err)
		}
	}
}
