package login

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mailproxy/authlib/sasl"
	"mailproxy/internal/mailhost"
)

// A token is the mailhost's to judge: who is let in, what is told, what is logged, and that nothing counts.
func TestToken(t *testing.T) {
	const why = "eyJzdGF0dXMiOiJpbnZhbGlkX3Rva2VuIn0="
	no := func(code, challenge string) error {
		answer := Answer{Code: code, Text: "a NO secret-token", Challenge: challenge}
		return &RejectedError{mailhost.StepLogin, answer}
	}
	const refused = "INFO: LOGIN REFUSED, user=there, method=OAUTHBEARER, " + from +
		": 192.0.2.9, address=192.0.2.9:143, refuses the token: a NO***\n"
	for _, c := range []struct {
		name, user string
		err        error // what becomes of it at the mailhost
		reason     error // what the mechanism has against the message
		code       string
		challenge  string
		log        string
		temporary  bool
	}{
		{name: "good", user: "there"},
		{name: "the mailhost verifies passwords as well", user: "verified"},
		{name: "refused", user: "there", err: no("AUTHENTICATIONFAILED", why), code: "AUTHENTICATIONFAILED",
			challenge: why, log: refused},
		{name: "refused without a reason", user: "there", err: no("", ""), code: "AUTHENTICATIONFAILED",
			log: refused},
		{name: "not now", user: "there", err: no("UNAVAILABLE", ""), temporary: true,
			log: "the mailhost has trouble of its own: a NO***\n"},
		{name: "not offered", user: "there", code: "CONTACTADMIN",
			err: &NotOfferedError{"OAUTHBEARER", "IMAP_CAPABILITY promises it"},
			log: "address=192.0.2.9:143, does not offer it: IMAP_CAPABILITY promises it\n"},
		{name: "here", user: "here", code: "CONTACTADMIN",
			log: "WARN: LOGIN REFUSED, user=here, method=OAUTHBEARER, " + from +
				": the account is here, and only mailhosts take tokens\n"},
		{name: "no name", reason: sasl.ErrNoName, code: "CONTACTADMIN",
			log: "INFO: LOGIN REFUSED, method=OAUTHBEARER, " + from +
				": the client has sent a token without a user name (a= in the GS2 header)\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, imap, "IMAP_PROXY=1", "LOGIN_FAIL_DELAY=1",
				"THROTTLE_FILE="+filepath.Join(t.TempDir(), "t"))
			w.auth.Add("there", "mailhost=192.0.2.9")
			w.auth.Add("verified", "mailhost=192.0.2.9,verify=mailhost")
			w.auth.Add("here", "")
			const token = "n,a=there,\x01auth=Bearer secret-token\x01\x01"
			var shown *mailhost.Conn
			w.Servers["192.0.2.9:143"] = func(_ context.Context, m *mailhost.Conn) error {
				shown = m
				return c.err
			}
			for range 3 {
				o, err := w.Login(t.Context(), bySASL(sasl.Credentials{
					Mechanism: "OAUTHBEARER", User: c.user, Token: token, Err: c.reason}))
				denied, _ := errors.AsType[*DeniedError](err)
				switch {
				case c.code == "" && !c.temporary:
					if err != nil || o.Mailhost == nil {
						t.Fatalf("%v, %+v", err, o)
					}
				case c.temporary && !errors.Is(err, ErrTemporary),
					!c.temporary && (denied == nil || denied.Code != c.code || denied.Challenge != c.challenge):
					t.Errorf("%v, %+v", err, denied)
				}
			}
			if shown != nil && (shown.Token != token || shown.Password != "" || shown.Mechanism != "OAUTHBEARER") {
				t.Errorf("the mailhost is shown %+v", shown)
			}
			log := w.log.String()
			if !strings.Contains(log, c.log) || strings.Contains(log, "secret-token") ||
				strings.Contains(log, "LOGIN FAILED") {
				t.Errorf("log\n%swant %s", log, c.log)
			}
			for _, d := range w.slept {
				if d > time.Second {
					t.Errorf("delayed by %v: it was counted", d)
				}
			}
		})
	}
}
