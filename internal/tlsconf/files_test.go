package tlsconf

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestOpenKey: a key that everybody may read is told, whichever of the two files it is in.
func TestOpenKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c")
	for mode, want := range map[os.FileMode]string{0o600: "", 0o640: "", 0o644: path} {
		if err := errors.Join(os.WriteFile(path, []byte("x"), mode), os.Chmod(path, mode)); err != nil {
			t.Fatal(err)
		}
		if text, err := (files{path, path}).read(); err != nil || text.open != want {
			t.Errorf("%o: %q %v", mode, text.open, err)
		}
	}
}

// FuzzName: a name from a ClientHello never leaves the directory of the certificates.
func FuzzName(f *testing.F) {
	for _, name := range []string{"www.example.com", "WWW.Example.com.", "../x", "a/b", ".", "..", "a..b",
		"\x00", "ä.example"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if s := nameSuffix(name); s != "" && (strings.ContainsAny(s, "/\x00") || strings.Contains("."+s, "..") ||
			len(s) > 253) {
			t.Errorf("%q became %q", name, s)
		}
		if a := addressSuffix(name); strings.ContainsAny(a, "/%\x00") {
			t.Errorf("address %q became %q", name, a)
		}
	})
}
