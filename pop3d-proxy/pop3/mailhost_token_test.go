package pop3

import (
	"encoding/base64"
	"errors"
	"io"
	"strings"
	"testing"

	"mailproxy/internal/login"
	"mailproxy/internal/mailhost"
	"mailproxy/tests/transcript"
)

// A mailhost that has the mechanism is shown the client's message, one that has not is shown nothing, and
// only its OK to the message is one.
func TestTokenAtMailhost(t *testing.T) {
	const bearer, oauth = "n,a=ann,\x01auth=Bearer token\x01\x01", "user=ann\x01auth=Bearer token\x01\x01"
	long := "n,a=ann,\x01auth=Bearer " + strings.Repeat("x", 40_000) + "\x01\x01"
	const list = "S: +OK\nC: CAPA\nS: +OK\nS: SASL PLAIN OAUTHBEARER XOAUTH2\nS: .\n"
	for _, c := range []struct {
		name, message, server string
		cause                 string // in the text of an error
		rejected              bool
		challenge             string
	}{
		{name: "along with the command", message: bearer, server: list +
			"C: AUTH OAUTHBEARER bixhPWFubiwBYXV0aD1CZWFyZXIgdG9rZW4BAQ==\nS: +OK"},
		{name: "XOAUTH2", message: oauth, server: list +
			"C: AUTH XOAUTH2 dXNlcj1hbm4BYXV0aD1CZWFyZXIgdG9rZW4BAQ==\nS: +OK"},
		// RFC 5034 section 4: a command has at most 255 bytes.
		{name: "on a line of its own", message: long, server: list + "C: AUTH OAUTHBEARER\nS= \"+ \\r\\n\"\nC: " +
			base64.StdEncoding.EncodeToString([]byte(long)) + "\nS: +OK"},
		{name: "refused with a reason", message: bearer, server: list +
			"C* AUTH OAUTHBEARER .*\nS: + e30=\nC: AQ==\nS: -ERR [AUTH] expired",
			cause: "expired", rejected: true, challenge: "e30="},
		{name: "refused with a reason, XOAUTH2", message: oauth, server: list +
			"C* AUTH XOAUTH2 .*\nS: + e30=\nC: \nS: -ERR expired",
			cause: "expired", rejected: true, challenge: "e30="},
		{name: "words that are no reason", message: bearer, server: list +
			"C* AUTH OAUTHBEARER .*\nS: + what?\nC: AQ==\nS: -ERR [AUTH] expired", cause: "expired", rejected: true},
		{name: "refused at once", message: bearer, server: list +
			"C* AUTH OAUTHBEARER .*\nS: -ERR [SYS/TEMP] not now", cause: "not now", rejected: true},
		{name: "accepted after it was refused", message: bearer, server: list +
			"C* AUTH OAUTHBEARER .*\nS: + e30=\nC: AQ==\nS: +OK", cause: "accepted after it was refused"},
		{name: "accepted before it is shown", message: long, server: list + "C: AUTH OAUTHBEARER\nS: +OK",
			cause: "accepted before the token was sent"},
		{name: "not offered", message: bearer, server: "S: +OK\nC: CAPA\nS: +OK\nS: SASL PLAIN\nS: .",
			cause: "POP3AUTH_TLS promises OAUTHBEARER, which is not in its SASL list"},
		{name: "not before STLS", message: bearer, server: "S: +OK\nC: CAPA\nS: +OK\nS: STLS\nS: .",
			cause: "PROXY_TLS=STARTTLS"},
		{name: "no list at all", message: bearer, server: "S: +OK\nC: CAPA\nS: -ERR what?",
			cause: "does not offer"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, theirs := testMailhost(t, io.Discard)
			m.Password, m.Token, m.Mechanism = "", c.message, "OAUTHBEARER"
			if c.message == oauth {
				m.Mechanism = "XOAUTH2"
			}
			runner := &transcript.Runner{Conn: theirs, As: transcript.Server}
			played := make(chan error, 1)
			play(t, runner, c.server, played)
			err := loginAtMailhost(t.Context(), m)
			m.Conn.CloseWrite()
			if err := <-played; err != nil {
				t.Fatal(err)
			}
			if sent, _ := io.ReadAll(runner.Buffered()); len(sent) > 0 {
				t.Errorf("sent to the mailhost besides: %q", sent)
			}
			rejected, _ := errors.AsType[*login.RejectedError](err)
			at, _ := errors.AsType[*mailhost.StepError](err)
			switch {
			case c.cause == "":
				if err != nil {
					t.Error(err)
				}
			case err == nil || !strings.Contains(err.Error(), c.cause) || (rejected != nil) != c.rejected ||
				rejected == nil && (at == nil || at.Step != mailhost.StepLogin):
				t.Errorf("error %v, want one with %q", err, c.cause)
			case rejected != nil && rejected.Answer.Challenge != c.challenge:
				t.Errorf("challenge %q, want %q", rejected.Answer.Challenge, c.challenge)
			}
		})
	}
}

// Only tokens make long lines.
func TestMayBeLong(t *testing.T) {
	for text, want := range map[string]bool{
		"AUTH OAUTHBEARER bix": true, "auth  xoauth2 x": true, "AUTH PLAIN x": false, "PASS OAUTHBEARER x": false,
		"AUTH": false, "": false, strings.Repeat("x", maxLine+1): false,
	} {
		if mayBeLong([]byte(text)) != want {
			t.Errorf("%.40q: %v", text, !want)
		}
	}
}
