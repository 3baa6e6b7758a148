package trust_test

import (
	"bytes"
	"crypto/x509"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"mailproxy/internal/trust"
	"mailproxy/tests/testcert"
)

// TestLoad: which authorities are trusted, and that what cannot be used is an error with the setting's name.
func TestLoad(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	for _, name := range []string{"empty", "several [a*", "several [a*/directory", "unusable"} {
		if err := os.Mkdir(path(name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	a, b, c := testcert.CA(t, "a"), testcert.CA(t, "b"), testcert.CA(t, "c")
	testcert.Write(t, path("one"), a.CertPEM())
	testcert.Write(t, path("bundle"), slices.Concat([]byte("# a comment\n"), a.CertPEM(), b.CertPEM()))
	testcert.Write(t, path("text"), []byte("no certificate"))
	large := append(bytes.Repeat([]byte("#\n"), 2<<20), a.CertPEM()...)
	testcert.Write(t, path("large"), large)
	testcert.Write(t, path("several [a*/b.pem"), b.CertPEM())
	testcert.Write(t, path("several [a*/.hidden"), c.CertPEM())
	testcert.Write(t, path("several [a*/large"), large)
	for name, target := range map[string]string{
		"several [a*/0123abcd.0": "../one", "several [a*/dangling": "none",
		"link": "one", "unusable/dangling": "none",
	} {
		if err := os.Symlink(target, path(name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Mkfifo(path("pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		file, directory string
		trusted         string // the names of authorities
		err             string
	}{
		{"one", "", "a", ""},
		{"link", "", "a", ""},
		{"bundle", "", "ab", ""},
		{"", "several [a*", "abc", ""},
		{"one", "several [a*", "abc", ""},
		{"one", "empty", "a", ""},
		{"text", "several [a*", "abc", ""},
		{"", "", "", "no certificate in "},
		{"none", "several [a*", "", "FILE: open DIR/none: no such file or directory"},
		{"one", "none", "", "DIRECTORY: open DIR/none: no such file or directory"},
		{"text", "", "", "FILE: no certificate in DIR/text"},
		{"text", "empty", "", "FILE, DIRECTORY: no certificate in DIR/text, DIR/empty"},
		{"", "unusable", "", "DIRECTORY: no certificate in DIR/unusable"},
		{"large", "", "", "FILE: read DIR/large: more than 4194304 bytes"},
		{"pipe", "", "", "FILE: read DIR/pipe: not a regular file"},
	} {
		settings := []trust.Setting{{Name: "FILE"}, {Name: "DIRECTORY"}}
		for i, name := range []string{test.file, test.directory} {
			if name != "" {
				settings[i].Path = path(name)
			}
		}
		pool, err := trust.Load(settings...)
		if test.err != "" {
			want := strings.ReplaceAll(test.err, "DIR/", dir+"/")
			if err == nil || !strings.HasSuffix(err.Error(), want) {
				t.Errorf("%q, %q: %v, want %s", test.file, test.directory, err, want)
			}
			continue
		}
		if err != nil {
			t.Errorf("%q, %q: %v", test.file, test.directory, err)
			continue
		}
		want := x509.NewCertPool()
		for _, name := range test.trusted {
			want.AddCert(map[rune]*testcert.Pair{'a': a, 'b': b, 'c': c}[name].Cert)
		}
		if !pool.Equal(want) {
			t.Errorf("%q, %q: not exactly %s trusted", test.file, test.directory, test.trusted)
		}
	}
}
