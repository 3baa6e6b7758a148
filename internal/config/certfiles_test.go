package config

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// A setting that names a file stays the name of that file, whatever is in it.
func TestFileNames(t *testing.T) {
	dir := t.TempDir()
	odd := filepath.Join(dir, "a ", "b /c")
	if err := os.MkdirAll(filepath.Dir(odd), 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, odd, "")
	for value, want := range map[string][]string{
		"": nil, "/a": {"/a"}, "a": {"a"}, "/a:/b,/c": {"/a:/b,/c"}, "/my certs/a b.pem": {"/my certs/a b.pem"},
		"/a /b": {"/a", "/b"}, "/a \t /b\t/c d /e": {"/a", "/b", "/c d", "/e"}, "a b /c": {"a b", "/c"},
		odd: {odd},
	} {
		if got := FileNames(value); !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", value, got, want)
		}
	}
	two := TLS{CertFile: "/a /b /c", KeyFile: "/k /l"}
	const want = "TLS_PRIVATE_KEYFILE names 2 files, TLS_CERTFILE 3"
	if _, _, err := two.Files(); err == nil || err.Error() != want {
		t.Error(err)
	}
}
