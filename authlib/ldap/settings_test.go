package ldap

import (
	"strings"
	"testing"

	"mailproxy/authlib/rcfile"
)

// Values that are no switch and no number are all reported at once, not one for each start.
func TestWrongSettings(t *testing.T) {
	s, err := rcfile.Parse("##NAME: MARKER:0\nLDAP_URI ldap://127.0.0.1\nLDAP_BASEDN b\n" +
		"LDAP_TLS maybe\nLDAP_AUTHBIND often\nLDAP_TIMEOUT soon\n")
	if err != nil {
		t.Fatal(err)
	}
	_, err = newSettings(s, func(string) string { return "" }, t.Errorf)
	if err == nil {
		t.Fatal("they are taken")
	}
	for _, name := range []string{"LDAP_TLS", "LDAP_AUTHBIND", "LDAP_TIMEOUT"} {
		if !strings.Contains(err.Error(), name) {
			t.Errorf("%s is not in: %v", name, err)
		}
	}
}
