// Package forward tests what a real Dovecot mailhost learns about the client: the address that it logs, for
// each value of PROXY_FORWARD_CLIENT and both protocols, and the account that a master user logs in for.
package forward

import (
	"crypto/hmac"
	"crypto/md5"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mailproxy/tests/harness"
	"mailproxy/tests/transcript"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

const (
	mailhost = "127.0.0.3"
	client   = "127.0.0.77"
	// unbelieving is a mailhost that trusts nobody.
	unbelieving = "127.0.0.4"
)

// dialogues log in and out again.
var dialogues = map[string]string{
	"imap": `
		S* \* OK .*
		C: a LOGIN %[1]s %[2]s
		S* a OK .*
		C: b LOGOUT
		S* b OK .*
		S-`,
	"pop3": `
		S* \+OK .*
		C: USER %[1]s
		S: +OK Password required.
		C: PASS %[2]s
		S* \+OK Connected.*
		C: QUIT
		S* \+OK.*
		S-`,
}

// start runs a front end and returns its address and port.
func start(t *testing.T, m *harness.Mode, protocol, ip string, env harness.Env) string {
	t.Helper()
	protocol = strings.ToUpper(protocol)
	return m.Start(t, harness.ProxyOptions{Addr: ip, Protocols: []string{protocol}, Env: env}).At(protocol)
}

// play plays a dialogue from the client's own address.
func play(t *testing.T, addr, text string, funcs map[string]func(map[string]string) (string, error)) {
	t.Helper()
	conn := harness.ConnectFrom(t, client, addr)
	defer conn.Close()
	r := &transcript.Runner{Conn: conn, Funcs: funcs}
	r.MustPlay(t, text)
}

func TestAddress(t *testing.T) {
	var accounts, userdb []harness.Account
	for name, where := range map[string]string{
		"plain": mailhost, "imap-header": mailhost + ":10143", "pop3-header": mailhost +
			":10110", "distrusted": unbelieving,
	} {
		a := harness.Account{Name: name, Password: "geheim", Home: harness.NewHome(t)}
		accounts = append(accounts, a)
		a.Options = "mailhost=" + where
		userdb = append(userdb, a)
	}
	harness.Userdb(t, userdb...)
	harness.CourierAuthdaemond(t, "authuserdb", nil)
	dovecot := harness.Dovecot(
		t,
		harness.DovecotOptions{Addr: mailhost, Accounts: accounts, Trusted: "127.0.0.0/8", HAProxy: true},
	)
	strict := harness.Dovecot(t, harness.DovecotOptions{Addr: unbelieving, Accounts: accounts})

	harness.EachMode(t, func(t *testing.T, m *harness.Mode) { addresses(t, m, dovecot, strict) })
}

func addresses(t *testing.T, m *harness.Mode, dovecot, strict *harness.DovecotServer) {
	const ip = "127.0.1.1"
	for _, protocol := range []string{"imap", "pop3"} {
		for method, user := range map[string]string{
			"": "plain", "NO": "plain", "ID": "plain", "XCLIENT": "plain",
			"PROXY1": protocol + "-header", "PROXY2": protocol + "-header",
		} {
			t.Run(protocol+"/"+method, func(t *testing.T) {
				addr := start(t, m, protocol, ip, harness.Env{"PROXY_FORWARD_CLIENT": method})
				before := len(dovecot.Log.Find("Login: "))
				play(t, addr, fmt.Sprintf(dialogues[protocol], user, "geheim"), nil)
				lines := dovecot.Log.WaitN(t, before+1, "Login: ")
				want := `rip=` + client + `, `
				if method == "" || method == "NO" || protocol == "imap" && method == "XCLIENT" {
					want = `rip=127.0.0.1, ` // ours; XCLIENT is POP3's
				}
				if got := lines[len(lines)-1]; !strings.Contains(got, want) || !strings.Contains(got, "user=<"+user+">") {
					t.Errorf("Dovecot logs %q, want %q", got, want)
				}
			})
		}
		t.Run(protocol+"/distrusted", func(t *testing.T) {
			addr := start(t, m, protocol, ip, harness.Env{"PROXY_FORWARD_CLIENT": "ID"})
			before := len(strict.Log.Find("Login: "))
			play(t, addr, fmt.Sprintf(dialogues[protocol], "distrusted", "geheim"), nil)
			strict.Log.WaitN(t, before+1, "Login: ")
		})
	}
}

// A master user logs in for accounts whose clear password nobody knows: CRAM with userdb.
func TestMaster(t *testing.T) {
	ann := harness.Account{Name: "ann", Password: "sec ret", CRAM: true, Options: "mailhost=" + mailhost}
	harness.Userdb(t, ann)
	harness.CourierAuthdaemond(t, "authuserdb", nil)
	dovecot := harness.Dovecot(t, harness.DovecotOptions{
		Addr:        mailhost,
		Accounts:    []harness.Account{{Name: "ann", Password: "something else"}},
		MasterUsers: []harness.Account{{Name: "proxy", Password: "master's secret"}},
	})
	secret := filepath.Join(harness.Dir(t), "secret")
	harness.WriteFile(t, secret, "master's secret\n", 0o600)
	harness.Readable(t, secret)
	cram := map[string]func(map[string]string) (string, error){
		"answer": func(vars map[string]string) (string, error) {
			challenge, err := base64.StdEncoding.DecodeString(vars["challenge"])
			mac := hmac.New(md5.New, []byte(ann.Password))
			mac.Write(challenge)
			return base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "ann %x", mac.Sum(nil))), err
		},
	}
	harness.EachMode(t, func(t *testing.T, m *harness.Mode) {
		for _, c := range []struct{ protocol, text string }{
			{"imap", `
				S* \* OK .*
				C: a AUTHENTICATE CRAM-MD5
				S~ \+ (?P<challenge>\S+)
				C: ${answer}
				S* a OK .*
				C: b LOGOUT
				S* b OK .*
				S-`},
			{"pop3", `
				S* \+OK .*
				C: AUTH CRAM-MD5
				S~ \+ (?P<challenge>\S+)
				C: ${answer}
				S: +OK Connected to proxy server.
				C: QUIT
				S* \+OK.*
				S-`},
		} {
			t.Run(c.protocol, func(t *testing.T) {
				before := len(dovecot.Log.Find(c.protocol + "-login: Info: Login: user=<ann>"))
				addr := start(t, m, c.protocol, "127.0.1.1", harness.Env{
					"PROXY_MASTER_USER": "proxy", "PROXY_MASTER_PASSWORD_FILE": secret,
				})
				play(t, addr, c.text, cram)
				dovecot.Log.WaitN(t, before+1, c.protocol+"-login: Info: Login: user=<ann>")
			})
		}
	})
}
