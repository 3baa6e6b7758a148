package ldap

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"testing"

	goldap "github.com/go-ldap/ldap/v3"

	"mailproxy/authlib"
	"mailproxy/authlib/password"
)

// TestBindEachTime: with LDAP_AUTHBIND the server decides at every login; nothing that remembers hashes is
// asked.
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
	if binds.Load() != 3 {
		t.Errorf("%d binds", binds.Load())
	}
}
