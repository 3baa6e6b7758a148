package pop3

import (
	"io"
	"strings"
	"testing"

	"mailproxy/internal/mailhost"
	"mailproxy/tests/transcript"
)

// Where the mailhost decides, one answer too many is no login: each later one would be taken for the answer to
// another question. Otherwise what it says is not looked at before it is needed.
func TestAnswersBeforeTheQuestion(t *testing.T) {
	token := func(m *mailhost.Conn) {
		m.Mechanism, m.Token, m.Password = "XOAUTH2", "user=ann\x01auth=Bearer token\x01\x01", ""
	}
	unverified := func(m *mailhost.Conn) { m.Unverified = true }
	for _, c := range []struct {
		name   string
		change func(m *mailhost.Conn)
		server string
		step   mailhost.Step // "" = it is a login
	}{
		{"greets twice", unverified, "S: +OK\nS: +OK", mailhost.StepUser},
		{"two answers to USER", unverified, `
			S: +OK
			C: USER ann@example.com
			S: +OK
			S: +OK`, mailhost.StepPassword},
		{"two answers to PASS", unverified, `
			S: +OK
			C: USER ann@example.com
			S: +OK
			C: PASS sec ret
			S: +OK
			S: -ERR [AUTH] no`, mailhost.StepLogin},
		{"greets twice, and is shown a token", token, "S: +OK\nS: +OK", mailhost.StepLogin},
		{"two answers to AUTH", token, `
			S: +OK
			C: CAPA
			S: +OK
			S: SASL XOAUTH2
			S: .
			C: AUTH XOAUTH2 dXNlcj1hbm4BYXV0aD1CZWFyZXIgdG9rZW4BAQ==
			S: +OK
			S: -ERR`, mailhost.StepLogin},
		{"one answer to each", unverified, `
			S: +OK
			C: USER ann@example.com
			S: +OK
			C: PASS sec ret
			S: +OK`, ""},
		{"two answers where the database has verified the password", func(*mailhost.Conn) {}, `
			S: +OK
			S: +OK
			C: USER ann@example.com
			C: PASS sec ret
			S: +OK`, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, theirs := testMailhost(t, io.Discard)
			c.change(m)
			played := make(chan error, 1)
			runner := &transcript.Runner{Conn: theirs, As: transcript.Server}
			play(t, runner, c.server, played)
			err := loginAtMailhost(t.Context(), m)
			checkLoginError(t, err, c.step, false, "")
			if err != nil && !strings.Contains(err.Error(), "more than it was asked") {
				t.Error(err)
			}
			m.Conn.CloseWrite()
			if err := <-played; err != nil {
				t.Error(err)
			}
			if sent, _ := io.ReadAll(runner.Buffered()); len(sent) > 0 {
				t.Errorf("sent to the mailhost besides: %q", sent)
			}
		})
	}
}
