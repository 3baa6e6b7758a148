package ldap

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	goldap "github.com/go-ldap/ldap/v3"

	"mailproxy/authlib"
	"mailproxy/authlib/password"
	"mailproxy/authlib/rcfile"
)

// TestBindEachTime: with LDAP_AUTHBIND the server decides at every login; nothing that remembers hashes is
// asked. CRAM finds nothing to compare with, whatever the name.
func TestBindEachTime(t *testing.T) {
	var binds atomic.Int64
	d := server(t, 1, func(c net.Conn) {
		for buf := make([]byte, 512); ; {
			n, err := c.Read(buf)
			if err != nil || n < 6 || buf[5] != 0x60 { // a bind, of a message with an id of one byte
				return
			}
			code := byte(0)
			if binds.Add(1) > 2 {
				code = goldap.LDAPResultInvalidCredentials
			}
			_, _ = c.Write([]byte{0x30, 12, 2, 1, buf[4], 0x61, 7, 10, 1, code, 4, 0, 4, 0})
		}
	})
	d.authBind = true
	file := filepath.Join(t.TempDir(), "rc")
	if err := os.WriteFile(file, []byte("##NAME: MARKER:1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	d.binds = newConnections(1, 1, func(ctx context.Context) (*conn, error) { return d.connect(ctx, false) })
	t.Cleanup(d.binds.Close)
	ctx := password.WithVerifier(t.Context(), func(context.Context, string, string) (bool, error) {
		t.Error("the verifier was asked")
		return true, nil
	})
	entry := goldap.NewEntry("cn=ann", map[string][]string{"userPassword": {"$2b$10$x"}})
	d.cryptPW = "userPassword"
	for i, want := range []error{nil, nil, authlib.ErrRefused} {
		if err := d.check(ctx, &authlib.Account{Address: "ann"}, entry, "secret"); !errors.Is(err, want) {
			t.Errorf("login %d: %v, want %v", i+1, err, want)
		}
	}
	m := &Module{watch: rcfile.Watch(file, known,
		func(*rcfile.Settings) (*directory, error) { return d, nil }, func(*directory) {}, t.Logf)}
	_, err := m.Authenticate(t.Context(), &authlib.AuthRequest{Service: "imap", Type: authlib.AuthCRAMMD5,
		Challenge: []byte("<1@x>"), Response: []byte("nobody " + strings.Repeat("0", 32))})
	if !errors.Is(err, authlib.ErrNoSecret) {
		t.Errorf("CRAM: %v", err)
	}
	if binds.Load() != 3 {
		t.Errorf("%d binds", binds.Load())
	}
}
