package tlsconf

import "testing"

func TestExternal(t *testing.T) {
	for _, c := range []struct {
		field string
		vars  map[string]string
		want  string
	}{
		{"", map[string]string{}, ""},
		{"", map[string]string{"TLS_SUBJECT_CN": "x"}, ""},
		{"cn", map[string]string{"TLS_SUBJECT_CN": "x"}, "x"},
		{"cn", map[string]string{"TLS_SUBJECT_CN": "x\ny"}, ""},
		{"emailaddress", map[string]string{"TLS_SUBJECT_SUBJECTALTNAME": "a@b"}, "a@b"},
		{"emailaddress", map[string]string{"TLS_SUBJECT_SUBJECTALTNAME": "a@b", "TLS_SUBJECT_EMAILADDRESS": "c@d"}, "c@d"},
		{"subjectAltName", map[string]string{"TLS_SUBJECT_SUBJECTALTNAME": "a@b", "TLS_SUBJECT_EMAILADDRESS": "c@d"}, "a@b"},
	} {
		if got := External(c.field, c.vars); got != c.want {
			t.Errorf("%s of %v: %q, want %q", c.field, c.vars, got, c.want)
		}
	}
	vars := map[string]string{"TLS_CONNECTED_PROTOCOL": "x", "TLS_SUBJECT_CN": "y", "TLS_CERTFILE": "z"}
	if ClearVariables(vars); len(vars) != 1 {
		t.Errorf("left: %v", vars)
	}
}
