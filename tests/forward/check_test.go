package forward

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"mailproxy/tests/harness"
)

// With PROXY_MASTER_USER "check --capabilities" shows what a mailhost offers after the login, which is more
// than what Dovecot says before it; without it, and where the password is wrong, it says so.
func TestCheckCapabilities(t *testing.T) {
	harness.Userdb(t, harness.Account{Name: "ann", Password: "x", Options: "mailhost=" + mailhost})
	harness.CourierAuthdaemond(t, "authuserdb", nil)
	dovecot := harness.Dovecot(t, harness.DovecotOptions{
		Addr:        mailhost,
		Accounts:    []harness.Account{{Name: "ann", Password: "something else"}},
		MasterUsers: []harness.Account{{Name: "proxy", Password: "master's secret"}},
	})
	dir := harness.Dir(t)
	for _, password := range []string{"right", "wrong"} {
		text := map[string]string{"right": "master's secret\n", "wrong": "not it\n"}[password]
		harness.WriteFile(t, filepath.Join(dir, password), text, 0o600)
	}
	for _, c := range []struct {
		protocol, password string
		want, not          []string
		status             int
	}{
		{"imap", "", []string{"lists before the login", "1 mailhosts have all of it: IMAP_CAPABILITY=\"IMAP4rev1 "},
			[]string{" MOVE "}, 0},
		{"imap", "right", []string{"1 mailhosts have all of it: IMAP_CAPABILITY=\"IMAP4rev1 ", " MOVE "},
			[]string{"before the login"}, 0},
		{"imap", "wrong", []string{"fail  mailhost", mailhost, "no mailhost was asked"}, []string{"not it"}, 1},
		{"pop3", "right", []string{"1 mailhosts have all of it: ", "TOP", "UIDL"}, []string{"before the login"}, 0},
		{"pop3", "wrong", []string{"fail  mailhost", mailhost, "no mailhost was asked"}, []string{"not it"}, 1},
	} {
		t.Run(c.protocol+" "+c.password, func(t *testing.T) {
			logins := len(dovecot.Log.Find(c.protocol + "-login: Info: Login: user=<ann>"))
			cmd := exec.Command(harness.PlainBin(t, c.protocol+"d-proxy"), "check", "--capabilities")
			cmd.Env = []string{strings.ToUpper(c.protocol) + "_PROXY=1", "GORACE=" + os.Getenv("GORACE")}
			if c.password != "" {
				cmd.Env = append(cmd.Env, "PROXY_MASTER_USER=proxy", "PROXY_MAILHOSTS=127.0.0.0/8",
					"PROXY_MASTER_PASSWORD_FILE="+filepath.Join(dir, c.password))
			}
			out, err := cmd.CombinedOutput()
			if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != c.status {
				t.Errorf("%v, want exit status %d", err, c.status)
			}
			for _, want := range c.want {
				if !strings.Contains(string(out), want) {
					t.Errorf("no %q", want)
				}
			}
			for _, not := range c.not {
				if strings.Contains(string(out), not) {
					t.Errorf("it says %q", not)
				}
			}
			if t.Failed() {
				t.Logf("%s", out)
			}
			if c.password == "right" {
				dovecot.Log.WaitN(t, logins+1, c.protocol+"-login: Info: Login: user=<ann>")
			}
		})
	}
}
