package tls

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mailproxy/internal/throttle"
	"mailproxy/tests/harness"
	"mailproxy/tests/testcert"
)

// Dovecot verifies tokens that the test has signed, for both protocols: it lets a good one in, and its reason
// against an expired one reaches the client, which is not counted as a failed login. No token is in any log.
func TestTokens(t *testing.T) { ways(t, testTokens) }

func testTokens(t *testing.T, p *pki) {
	hosts(t)
	key := make([]byte, 32)
	if _, err := rand.Read(key); err != nil {
		t.Fatal(err)
	}
	pair := p.File(t, "dovecot.pem", testcert.Spec{Name: dovecotName, Names: []string{dovecotName, dovecotAddr}})
	harness.Site{
		Mailboxes: []harness.Mailbox{
			{Account: harness.Account{Name: "here", Password: "pw here"}},
			{Account: harness.Account{Name: "there", Password: "pw+there"}, Host: harness.DovecotHost,
				Subjects: []string{"there 1"}},
		},
		Dovecot: harness.DovecotOptions{CertFile: pair, KeyFile: pair, Extra: verifiesTokens(t, key),
			MasterUsers: []harness.Account{{Name: "master", Password: "master secret"}}},
	}.Start(t)
	// Who would be let in with any token.
	secret := testcert.Write(t, p.Dir+"/master", []byte("master secret\n"))
	harness.Readable(t, secret)
	const addr = "127.0.1.1"
	table := filepath.Join(harness.Dir(t), "throttle")
	front := startFront(t, p, addr, p.env(harness.Env{
		"IMAP_CAPABILITY_TLS": "IMAP4rev1 AUTH=OAUTHBEARER AUTH=XOAUTH2 AUTH=PLAIN SASL-IR",
		"POP3AUTH_TLS":        "OAUTHBEARER XOAUTH2 PLAIN",
		"PROXY_TLS":           "STARTTLS", "PROXY_TLS_VERIFYPEER": "NONE", "LOGIN_FAIL_DELAY": "0",
		"THROTTLE_FILE": table, "PROXY_MASTER_USER": "master", "PROXY_MASTER_PASSWORD_FILE": secret,
	}))
	good, expired := token(t, key, "there", time.Hour, 0), token(t, key, "there", -time.Hour, 0)
	long := token(t, key, "there", time.Hour, 3000)
	forged := token(t, []byte("another key"), "there", time.Hour, 0)
	for _, mechanism := range []string{"OAUTHBEARER", "XOAUTH2"} {
		for _, c := range []struct{ what, user, token, imap, pop3 string }{
			{"good", "there", good, signedInIMAP, signedInPOP3},
			{"long", "there", long, signedInIMAP, signedInPOP3},
			{"expired", "there", expired, refusedIMAP, refusedPOP3},
			{"forged", "there", forged, refusedIMAP, refusedPOP3},
			{"here", "here", good, "S* a NO \\[CONTACTADMIN\\] .*", "S* -ERR \\[SYS/PERM\\] .*"},
			{"no name", "", good, "S* a NO \\[CONTACTADMIN\\] .*", "S* -ERR \\[SYS/PERM\\] .*"},
		} {
			t.Run(mechanism+"/"+c.what, func(t *testing.T) {
				said := message(mechanism, c.user, c.token)
				dummy := map[string]string{"OAUTHBEARER": "AQ=="}[mechanism]
				challenge := ""
				if c.imap == refusedIMAP {
					challenge = dovecotSays(t, mechanism, said)
				}
				for port, dialogue := range map[string]string{
					"993": "S* \\* OK .*AUTH=OAUTHBEARER AUTH=XOAUTH2 .*\n" +
						"C: a AUTHENTICATE " + mechanism + " " + said + "\n" + c.imap,
					"995": "S* \\+OK .*\nC: AUTH " + mechanism + "\nS= \"+ \\r\\n\"\nC: " + said + "\n" + c.pop3,
				} {
					r, conn := dialTLS(t, addr+":"+port, &tls.Config{InsecureSkipVerify: true})
					r.Vars = map[string]string{"dummy": dummy, "challenge": challenge}
					r.MustPlay(t, dialogue)
					conn.Close()
				}
			})
		}
	}
	// Without TLS the mechanisms do not exist.
	const unknown = "S* \\* OK .*\nC: a AUTHENTICATE OAUTHBEARER\nS: a NO Login failed.\n" +
		"C: b LOGOUT\nS* b OK .*\nS-"
	harness.Dialogue(t, addr+":143", unknown).Conn.Close()
	harness.Dialogue(t, addr+":110", "S* \\+OK .*\nC: AUTH XOAUTH2\nS: -ERR Authentication failed.\n"+
		"C: QUIT\nS* \\+OK .*\nS-").Conn.Close()
	if p.mode.Launched() { // others count in memory
		wantUncounted(t, table)
	}
	for _, port := range []string{"IMAPS", "POP3S"} {
		log := front.Log(port)
		log.WaitN(t, 4, "INFO: LOGIN REFUSED, user=there, method=.*refuses the token: ")
		log.WaitN(t, 2, "WARN: LOGIN REFUSED, user=here, method=.*: the account is here")
		log.WaitN(t, 2, "INFO: LOGIN REFUSED, method=.*: the client has sent a token without a user name")
		for _, secret := range []string{good, expired, long, forged, "LOGIN FAILED"} {
			if strings.Contains(log.String(), secret) {
				t.Errorf("the log of %s has %.20q", port, secret)
			}
		}
	}
}

const (
	signedInIMAP = "S: a OK connected to proxy server.\nC: b EXAMINE INBOX\nS* \\* 1 EXISTS\nS* b OK .*"
	signedInPOP3 = "S: +OK Connected to proxy server.\nC: STAT\nS~ \\+OK 1 .*"
	refusedIMAP  = "S: + ${challenge}\nC: ${dummy}\nS: a NO [AUTHENTICATIONFAILED] Login failed."
	refusedPOP3  = "S: + ${challenge}\nC: ${dummy}\nS: -ERR [AUTH] Authentication failed."
)

// dovecotSays returns Dovecot's reason against a client's message, in base64, which says "status".
func dovecotSays(t *testing.T, mechanism, message string) string {
	t.Helper()
	r, conn := dialTLS(t, dovecotAddr+":993", &tls.Config{InsecureSkipVerify: true})
	defer conn.Close()
	r.Vars = map[string]string{}
	r.MustPlay(t, "S* \\* OK .*\nC: a AUTHENTICATE "+mechanism+"\nS= \"+ \\r\\n\"\nC: "+message+
		"\nS~ \\+ (?P<challenge>eyJ\\S+)")
	return r.Vars["challenge"]
}

// wantUncounted: the throttle knows of no failed login from this machine.
func wantUncounted(t *testing.T, table string) {
	t.Helper()
	memory, err := throttle.Open(table)
	if err != nil {
		t.Fatal(err)
	}
	defer memory.Close()
	for _, addr := range []string{"127.0.0.1", "127.0.1.1"} {
		if n, err := memory.Failed(netip.MustParseAddr(addr), time.Now()); err != nil || n != 1 { // this one
			t.Errorf("the throttle has counted %d logins from %s, %v", n-1, addr, err)
		}
	}
}

// message is what a client says by OAUTHBEARER or XOAUTH2, in base64.
func message(mechanism, user, token string) string {
	header := "n,a=" + user + ","
	if user == "" {
		header = "n,,"
	}
	text := header + "\x01auth=Bearer " + token + "\x01\x01"
	switch {
	case mechanism == "XOAUTH2" && user == "":
		text = "auth=Bearer " + token + "\x01\x01"
	case mechanism == "XOAUTH2":
		text = "user=" + user + "\x01auth=Bearer " + token + "\x01\x01"
	}
	return base64.StdEncoding.EncodeToString([]byte(text))
}

// verifiesTokens returns the lines by which Dovecot verifies tokens that are signed with key (RFC 7519,
// HS256), besides passwords.
func verifiesTokens(t *testing.T, key []byte) string {
	t.Helper()
	dir := harness.Dir(t)
	keys := filepath.Join(dir, "keys/default/HS256")
	if err := os.MkdirAll(keys, 0o755); err != nil {
		t.Fatal(err)
	}
	settings := filepath.Join(dir, "oauth2.conf")
	for name, text := range map[string]string{
		filepath.Join(keys, "default"): base64.StdEncoding.EncodeToString(key),
		settings: "introspection_mode = local\nlocal_validation_key_dict = fs:posix:prefix=" + dir + "/keys/\n" +
			"username_attribute = sub\n",
	} {
		// Dovecot's auth process drops root.
		harness.WriteFile(t, name, text, 0o644)
	}
	return "auth_mechanisms = plain oauthbearer xoauth2\n" +
		// Each refusal would delay the next login from the proxy.
		"service anvil {\n  unix_listener anvil-auth-penalty {\n    mode = 0\n  }\n}\n" +
		"passdb {\n  driver = oauth2\n  mechanisms = oauthbearer xoauth2\n  args = " + settings + "\n}"
}

// token makes a token that is good for a time, and as long as padding makes it.
func token(t *testing.T, key []byte, user string, lifetime time.Duration, padding int) string {
	t.Helper()
	now := time.Now()
	claims, err := json.Marshal(map[string]any{
		"sub": user, "iat": now.Add(-2 * time.Hour).Unix(), "exp": now.Add(lifetime).Unix(),
		"scope": "mail", "x": strings.Repeat("x", padding),
	})
	if err != nil {
		t.Fatal(err)
	}
	enc := base64.RawURLEncoding.EncodeToString
	signed := enc([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." + enc(claims)
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(signed))
	return signed + "." + enc(mac.Sum(nil))
}
