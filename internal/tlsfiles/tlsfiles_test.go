package tlsfiles

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"mailproxy/internal/smallfile"
)

// TestNoCryptography: what this package is made for. It is what a front end pays with its start on each connection.
func TestNoCryptography(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "mailproxy/internal/tlsfiles").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, name := range strings.Fields(string(out)) {
		if strings.Contains(name, "crypto") || name == "encoding/json" || name == "net" {
			t.Errorf("depends on %s", name)
		}
	}
}

const (
	cert = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
	key  = "-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\n"
)

func TestCheck(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	both, certOnly, keyOnly := file("both", cert+key), file("cert", cert), file("key", key)
	for _, tc := range []struct {
		cert, key, ip string
		want          error
	}{
		{both, "", "", nil}, {certOnly, keyOnly, "", nil}, {certOnly, "", "", ErrNoKey}, {keyOnly, "", "", ErrNoCert},
		{file("empty", ""), "", "", ErrNoCert}, {dir, "", "", smallfile.ErrNotRegular}, {"/dev/null", "", "", smallfile.ErrNotRegular},
		{"/nonexistent/x", "", "", os.ErrNotExist}, {both, "/nonexistent/x", "", os.ErrNotExist},
		{file("locked", cert+strings.ReplaceAll(key, "PRIVATE", "ENCRYPTED PRIVATE")), "", "", ErrEncrypted},
		{file("old", cert+strings.Replace(strings.ReplaceAll(key, "PRIVATE", "RSA PRIVATE"), "\n", "\nProc-Type: 4,ENCRYPTED\n\n", 1)), "", "", ErrEncrypted},
		{file("text", "Public Key Info:\n\tAlgorithm: RSA\n\n"+strings.ReplaceAll(key+"\n"+cert, "\n", "\r\n")), "", "", nil},
		{file("cut", cert+key[:len(key)-10]), "", "", ErrNoKey}, {file("quoted", "> "+cert+key), "", "", ErrNoCert},
		{file("other", strings.ReplaceAll(cert, "CERTIFICATE", "DH PARAMETERS")+cert+strings.ReplaceAll(key, "PRIVATE", "EC PRIVATE")), "", "", nil},
		{file("ends", strings.Replace(cert, "-----END CERT", "-----END DERT", 1)+key), "", "", ErrNoCert},
		{both, "", "::ffff:192.0.2.1", nil}, {file("addr", cert+key), "", "::ffff:192.0.2.2", ErrNoKey},
	} {
		if tc.ip == "::ffff:192.0.2.2" {
			file("addr.192.0.2.2", cert)
		}
		err := Check(Options{Settings: map[string]string{"TLS_CERTFILE": tc.cert, "TLS_PRIVATE_KEYFILE": tc.key}, LocalIP: tc.ip})
		if !errors.Is(err, tc.want) {
			t.Errorf("%s %s %s: %v, want %v", tc.cert, tc.key, tc.ip, err, tc.want)
		}
	}
	if err := Check(Options{}); err == nil || !strings.Contains(err.Error(), "TLS_CERTFILE") {
		t.Errorf("no setting: %v", err)
	}
	big := file("big", "")
	if err := os.Truncate(big, MaxCert+1); err != nil {
		t.Fatal(err)
	}
	if Check(Options{Settings: map[string]string{"TLS_CERTFILE": big}}) == nil {
		t.Error("a file without end is read")
	}
}

// TestOpenKey: a key that everybody may read is told, whichever of the two files it is in.
func TestOpenKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c")
	for mode, want := range map[os.FileMode]string{0o600: "", 0o640: "", 0o644: path} {
		if err := errors.Join(os.WriteFile(path, []byte(cert+key), mode), os.Chmod(path, mode)); err != nil {
			t.Fatal(err)
		}
		if text, err := (Pair{path, path}).Read(); err != nil || text.Open != want {
			t.Errorf("%o: %q %v", mode, text.Open, err)
		}
	}
}

// FuzzName: a name from a ClientHello never leaves the folder of the certificates.
func FuzzName(f *testing.F) {
	for _, name := range []string{"www.example.com", "WWW.Example.com.", "../x", "a/b", ".", "..", "a..b", "\x00", "ä.example"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if s := nameSuffix(name); s != "" && (strings.ContainsAny(s, "/\x00") || strings.Contains("."+s, "..") || len(s) > 253) {
			t.Errorf("%q became %q", name, s)
		}
		if a := addressSuffix(name); strings.ContainsAny(a, "/%\x00") {
			t.Errorf("address %q became %q", name, a)
		}
	})
}
