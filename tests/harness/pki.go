package harness

import (
	"os"
	"path/filepath"
	"testing"

	"mailproxy/tests/testcert"
)

// PKI is a certificate authority of a test's own, with its files in one directory.
type PKI struct {
	Dir   string
	CA    *testcert.Pair
	Trust string // file with the authority's certificate
}

// NewPKI makes an authority.
func NewPKI(t testing.TB) *PKI {
	t.Helper()
	p := &PKI{Dir: Dir(t), CA: testcert.CA(t, "Test CA")}
	p.Trust = testcert.Write(t, filepath.Join(p.Dir, "ca.pem"), p.CA.CertPEM())
	if err := os.Chmod(p.Trust, 0o644); err != nil {
		t.Fatal(err)
	}
	return p
}

// File issues a certificate, writes it with its key to a file of this name, and returns the path.
func (p *PKI) File(t testing.TB, name string, s testcert.Spec) string {
	t.Helper()
	path := testcert.Write(t, filepath.Join(p.Dir, name), p.CA.Issue(t, s).PEM(t))
	Readable(t, path)
	return path
}
