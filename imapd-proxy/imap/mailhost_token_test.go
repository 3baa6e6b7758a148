package imap

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"mailproxy/internal/login"
	"mailproxy/internal/mailhost"
	"mailproxy/tests/transcript"
)

// shows lets the client show a token, in place of the password.
func shows(message string) func(m *mailhost.Conn) {
	return func(m *mailhost.Conn) {
		m.Mechanism, m.Token, m.Password = "OAUTHBEARER", message, ""
		if strings.HasPrefix(message, "user=") {
			m.Mechanism = "XOAUTH2"
		}
	}
}

// In base64: bixhPWFubiwBYXV0aD1CZWFyZXIgdG9rZW4BAQ== and dXNlcj1hbm4BYXV0aD1CZWFyZXIgdG9rZW4BAQ==.
const (
	annsBearer = "n,a=ann,\x01auth=Bearer token\x01\x01"
	annsOAuth  = "user=ann\x01auth=Bearer token\x01\x01"
)

func TestTokenAtMailhost(t *testing.T) {
	long := "n,a=ann,\x01auth=Bearer " + strings.Repeat("x", 40_000) + "\x01\x01"
	runLogins(t, []loginCase{
		{name: "along with the command", change: shows(annsBearer), server: `
			S: * OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=OAUTHBEARER] ready
			C: a1 AUTHENTICATE OAUTHBEARER bixhPWFubiwBYXV0aD1CZWFyZXIgdG9rZW4BAQ==
			S: a1 OK fine`},
		{name: "on a line of its own", change: shows(annsOAuth), server: `
			S: * OK [CAPABILITY IMAP4rev1 AUTH=XOAUTH2] ready
			C: a1 AUTHENTICATE XOAUTH2
			S: +
			C: dXNlcj1hbm4BYXV0aD1CZWFyZXIgdG9rZW4BAQ==
			S: * OK [ALERT] hello
			S: a1 OK fine`,
			reply: "* OK [ALERT] hello\r\na1 OK connected to proxy server.\r\n"},
		{name: "too long for a command", change: shows(long), server: `
			S: * OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=OAUTHBEARER] ready
			C: a1 AUTHENTICATE OAUTHBEARER
			S: + 
			C: ` + base64.StdEncoding.EncodeToString([]byte(long)) + `
			S: a1 OK fine`},
		{name: "not offered", change: shows(annsBearer), server: `
			S: * OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN AUTH=XOAUTH2] ready`,
			step: "login", cause: "IMAP_CAPABILITY_TLS promises AUTH=OAUTHBEARER, which is not in its list"},
		{name: "not before STARTTLS", change: shows(annsBearer), server: `
			S: * OK [CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED] ready`,
			step: "login", cause: "PROXY_TLS=STARTTLS"},
		{name: "no list at all", change: shows(annsBearer), server: `
			S: * OK ready
			C: C0 CAPABILITY
			S: C0 BAD what?`,
			step: "login", cause: "does not offer OAUTHBEARER"},
		{name: "refused before it is shown", change: shows(annsBearer), server: `
			S: * OK [CAPABILITY IMAP4rev1 AUTH=OAUTHBEARER] ready
			C: a1 AUTHENTICATE OAUTHBEARER
			S: a1 NO [UNAVAILABLE] not now`,
			rejected: true, step: "login", cause: "not now"},
		{name: "accepted before it is shown", change: shows(annsBearer), server: `
			S: * OK [CAPABILITY IMAP4rev1 AUTH=OAUTHBEARER] ready
			C: a1 AUTHENTICATE OAUTHBEARER
			S: a1 OK come in`,
			step: "login", cause: "accepted before the token was sent"},
		{name: "accepted after it was refused", change: shows(annsBearer), server: `
			S: * OK [CAPABILITY IMAP4rev1 AUTH=OAUTHBEARER SASL-IR] ready
			C: a1 AUTHENTICATE OAUTHBEARER bixhPWFubiwBYXV0aD1CZWFyZXIgdG9rZW4BAQ==
			S: + e30=
			C: AQ==
			S: a1 OK come in`,
			step: "login", cause: "accepted after it was refused"},
		{name: "accepted before it is shown, after the greeting", change: shows(annsBearer), server: `
			S: * OK [CAPABILITY IMAP4rev1 AUTH=OAUTHBEARER SASL-IR] ready
			S: a1 OK come in`,
			step: "login", cause: "answers before it is asked"},
		{name: "accepted before it is shown, after the continuation", change: shows(annsBearer), server: `
			S: * OK [CAPABILITY IMAP4rev1 AUTH=OAUTHBEARER] ready
			C: a1 AUTHENTICATE OAUTHBEARER
			S: +
			S: a1 OK come in`,
			step: "login", cause: "answers before it is asked"},
		{name: "asks on and on", change: shows(annsBearer), server: `
			S: * OK [CAPABILITY IMAP4rev1 AUTH=OAUTHBEARER SASL-IR] ready
			C: a1 AUTHENTICATE OAUTHBEARER bixhPWFubiwBYXV0aD1CZWFyZXIgdG9rZW4BAQ==
			S: + e30=
			C: AQ==
			S: + e30=`,
			step: "login", cause: "asks for more"},
	})
}

// What a mailhost has against a token is handed on as it is, if it is a challenge at all.
func TestChallengeOfMailhost(t *testing.T) {
	for _, c := range []struct{ message, dummy, said, want string }{
		{annsBearer, "AQ==", "+ eyJzdGF0dXMiOiJpbnZhbGlkX3Rva2VuIn0=", "eyJzdGF0dXMiOiJpbnZhbGlkX3Rva2VuIn0="},
		{annsOAuth, "", "+ e30=", "e30="},
		{annsBearer, "AQ==", "+ {}", ""},
		{annsBearer, "AQ==", "+ ", ""},
		{annsBearer, "AQ==", "+", ""},
	} {
		m, theirs := testMailhost(t)
		shows(c.message)(m)
		played := make(chan error, 1)
		go func() {
			r := &transcript.Runner{Conn: theirs, As: transcript.Server}
			played <- r.Play(transcript.MustParse(t, "S: * OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=OAUTHBEARER "+
				"AUTH=XOAUTH2] ready\nC* a1 AUTHENTICATE .*\nS: "+c.said+"\nC: "+c.dummy+
				"\nS: a1 NO [AUTHENTICATIONFAILED] no")[0])
		}()
		err := loginAtMailhost(t.Context(), m)
		if err := <-played; err != nil {
			t.Error(err)
		}
		rejected, _ := errors.AsType[*login.RejectedError](err)
		if rejected == nil || rejected.Answer.Challenge != c.want ||
			rejected.Answer.Code != "AUTHENTICATIONFAILED" {
			t.Errorf("%q: %v, %+v", c.said, err, rejected)
		}
	}
}

// Only ID and tokens make long lines.
func TestMayBeLong(t *testing.T) {
	for rest, want := range map[string]bool{
		` ID ("name" "x")`: true, " id  (": true, " ID": false, " IDLE x": false,
		" AUTHENTICATE OAUTHBEARER bix": true, " authenticate  xoauth2 ": true, " AUTHENTICATE XOAUTH2": false,
		" AUTHENTICATE PLAIN AGFu": false, " LOGIN OAUTHBEARER x": false, "": false,
		" " + strings.Repeat("x", maxLine): false, " AUTHENTICATE " + strings.Repeat("x", maxLine) + " x": false,
	} {
		if mayBeLong([]byte(rest)) != want {
			t.Errorf("%.40q: %v", rest, !want)
		}
	}
}
