package tlsconf

import "testing"

func TestExternal(t *testing.T) {
	for _, c := range []struct {
		vars map[string]string
		want string
	}{
		{map[string]string{}, ""},
		{map[string]string{"TLS_SUBJECT_CN": "x"}, ""},
		{map[string]string{"TLS_EXTERNAL": "cn", "TLS_SUBJECT_CN": "x"}, "x"},
		{map[string]string{"TLS_EXTERNAL": "cn", "TLS_SUBJECT_CN": "x\ny"}, ""},
		{map[string]string{"TLS_EXTERNAL": "emailaddress", "TLS_SUBJECT_SUBJECTALTNAME": "a@b"}, "a@b"},
		{map[string]string{"TLS_EXTERNAL": "emailaddress", "TLS_SUBJECT_SUBJECTALTNAME": "a@b", "TLS_SUBJECT_EMAILADDRESS": "c@d"}, "c@d"},
		{map[string]string{"TLS_EXTERNAL": "subjectAltName", "TLS_SUBJECT_SUBJECTALTNAME": "a@b", "TLS_SUBJECT_EMAILADDRESS": "c@d"}, "a@b"},
	} {
		if got := External(c.vars); got != c.want {
			t.Errorf("%v: %q, want %q", c.vars, got, c.want)
		}
	}
	vars := map[string]string{"TLS_CONNECTED_PROTOCOL": "x", "TLS_SUBJECT_CN": "y", "TLS_CERTFILE": "z"}
	if ClearVariables(vars); len(vars) != 1 {
		t.Errorf("left: %v", vars)
	}
}
