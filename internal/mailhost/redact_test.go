package mailhost

import "testing"

func TestRedact(t *testing.T) {
	m := &Conn{User: "bob", Password: `p"w\1`}
	for text, want := range map[string]string{
		`-ERR PASS p"w\1`:                        `-ERR PASS ***`,
		`NO LOGIN "bob" "p\"w\\1"`:               `NO LOGIN "bob" "***"`,
		`NO "LOGIN \"bob\" \"p\\\"w\\\\1\""`:     `NO "LOGIN \"bob\" \"***\""`,
		`NO "PASS p\"w\\1" what`:                 `NO "PASS ***" what`,
		"NO AUTHENTICATE PLAIN AGJvYgBwIndcMQ==": "NO AUTHENTICATE PLAIN ***",
		"NO cInciw== cCJ3XDE=":                   "NO cInciw== ***",
		"NO nothing":                             "NO nothing",
	} {
		if got := m.Redact(text); got != want {
			t.Errorf("%s: got %s, want %s", text, got, want)
		}
	}
	if got := (&Conn{}).Redact("NO x"); got != "NO x" {
		t.Errorf("no password: %s", got)
	}
}
