package relay

import (
	"bufio"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"mailproxy/tests/harness"
)

// counters asks relayd for the lines about logins, without the times.
func counters(t *testing.T, relayd *harness.Service) (lines []string) {
	t.Helper()
	text := harness.Run(t, "", harness.PlainBin(t, "relayd"), "-socket", relayd.Socket, "stats")
	return regexp.MustCompile(`(?m)^mailproxy_(logins_total|mailhost_failures_total|login_seconds_count).*$`).
		FindAllString(text, -1)
}

// TestCounters: logins that end in every way, through both front ends, are what relayd counts; the failed
// ones and the local one, of which it gets no session, too.
func TestCounters(t *testing.T) {
	const silent = "127.0.0.4" // nobody listens there
	account := func(name, options string) harness.Account {
		return harness.Account{
			Name: name, Password: "secret", Options: options,
			Home: harness.NewHome(t, harness.Message("hello")),
		}
	}
	harness.Userdb(t, account("ann", "mailhost="+dovecot), account("second", "mailhost="+silent+";"+dovecot),
		account("stranger", "mailhost="+dovecot), account("down", "mailhost="+silent),
		account("lost", "mailhost=no.such.host.invalid"),
		account("off", "mailhost="+dovecot+`,disableimap=1,disablepop3=1`), account("here", ""),
		account("limited", "mailhost="+dovecot))
	harness.Dovecot(t, harness.DovecotOptions{Addr: dovecot, Accounts: []harness.Account{
		account("ann", ""), account("second", ""), account("limited", "")}})
	harness.CourierAuthdaemond(t, "authuserdb", nil)
	relayd := harness.Relayd(t, "-maxperuser", "1")
	harness.WithRelayd(relayd).Start(t, harness.ProxyOptions{Addr: proxy})

	// say logs in over IMAP and leaves, with what is answered to it.
	say := func(user, password, answer string) *client {
		t.Helper()
		c := connect(t, false)
		if got, err := c.say("LOGIN " + user + " " + password); err != nil || !strings.Contains(got, "a "+answer) {
			t.Errorf("%s: %q, %v", user, got, err)
		}
		return c
	}
	say("ann", "secret", "OK").ok("LOGOUT")
	say("ann", "wrong", "NO [AUTHENTICATIONFAILED]").Close()
	say("nobody", "secret", "NO [AUTHENTICATIONFAILED]").Close()
	say("second", "secret", "OK").ok("LOGOUT")
	say("stranger", "secret", "NO [AUTHENTICATIONFAILED]").Close()
	say("down", "secret", "NO [UNAVAILABLE]").Close()
	say("lost", "secret", "NO [UNAVAILABLE]").Close()
	say("off", "secret", "NO").Close()
	say("here", "secret", "OK").ok("LOGOUT")
	first := say("limited", "secret", "OK")
	say("limited", "secret", "NO [UNAVAILABLE]").Close()
	first.ok("LOGOUT")

	p := harness.Connect(t, proxy+":110")
	_ = p.SetDeadline(time.Now().Add(2 * harness.Patience))
	r := bufio.NewReader(p)
	for _, line := range []string{"", "USER ann", "PASS wrong", "USER down", "PASS secret", "USER ann",
		"PASS secret", "QUIT"} {
		if line != "" {
			_, _ = p.Write([]byte(line + "\r\n"))
		}
		if _, err := r.ReadString('\n'); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
	}

	want := []string{
		`mailproxy_logins_total{protocol="imap",result="local",mailhost=""} 1`,
		`mailproxy_logins_total{protocol="imap",result="refused",mailhost=""} 2`,
		`mailproxy_logins_total{protocol="imap",result="disabled",mailhost=""} 1`,
		`mailproxy_logins_total{protocol="pop3",result="refused",mailhost=""} 1`,
		`mailproxy_logins_total{protocol="imap",result="ok",mailhost="127.0.0.3"} 3`,
		`mailproxy_logins_total{protocol="imap",result="temporary",mailhost="127.0.0.3"} 1`,
		`mailproxy_logins_total{protocol="imap",result="limit",mailhost="127.0.0.3"} 1`,
		`mailproxy_logins_total{protocol="pop3",result="ok",mailhost="127.0.0.3"} 1`,
		`mailproxy_logins_total{protocol="imap",result="temporary",mailhost="127.0.0.4"} 1`,
		`mailproxy_logins_total{protocol="pop3",result="temporary",mailhost="127.0.0.4"} 1`,
		`mailproxy_logins_total{protocol="imap",result="temporary",mailhost="no.such.host.invalid"} 1`,
		`mailproxy_login_seconds_count{protocol="imap",result="ok"} 3`,
		`mailproxy_login_seconds_count{protocol="imap",result="local"} 1`,
		`mailproxy_login_seconds_count{protocol="imap",result="refused"} 2`,
		`mailproxy_login_seconds_count{protocol="imap",result="disabled"} 1`,
		`mailproxy_login_seconds_count{protocol="imap",result="temporary"} 3`,
		`mailproxy_login_seconds_count{protocol="imap",result="limit"} 1`,
		`mailproxy_login_seconds_count{protocol="pop3",result="ok"} 1`,
		`mailproxy_login_seconds_count{protocol="pop3",result="refused"} 1`,
		`mailproxy_login_seconds_count{protocol="pop3",result="temporary"} 1`,
		`mailproxy_mailhost_failures_total{mailhost="127.0.0.3",step="rejected"} 1`,
		`mailproxy_mailhost_failures_total{mailhost="127.0.0.4",step="connect"} 3`,
		`mailproxy_mailhost_failures_total{mailhost="no.such.host.invalid",step="resolve"} 1`,
	}
	slices.Sort(want)
	var got []string
	same := func() bool {
		got = counters(t, relayd)
		slices.Sort(got)
		return slices.Equal(got, want)
	}
	if !harness.Eventually(same) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if lines := relayd.Log.Find(`may not use this socket`); len(lines) > 0 {
		t.Error(lines)
	}
}

// TestNobodyCounts: a relayd that has been killed costs no login.
func TestNobodyCounts(t *testing.T) {
	harness.Userdb(t, harness.Account{Name: "ann", Password: "secret", Options: "mailhost=" + dovecot})
	harness.Dovecot(t,
		harness.DovecotOptions{Addr: dovecot, Accounts: []harness.Account{{Name: "ann", Password: "secret"}}})
	harness.CourierAuthdaemond(t, "authuserdb", nil)
	relayd := harness.Relayd(t)
	harness.WithRelayd(relayd).Start(t, harness.ProxyOptions{Addr: proxy, Protocols: []string{"IMAP"}})
	if err := relayd.Cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if !harness.Eventually(relayd.Ended) {
		t.Fatal("relayd does not end")
	}
	for range 3 {
		c := connect(t, false)
		if got, err := c.say("LOGIN ann wrong"); err != nil ||
			!strings.HasPrefix(got, "a NO [AUTHENTICATIONFAILED]") {
			t.Errorf("%q, %v", got, err)
		}
		c.ok("LOGIN ann secret")
		c.ok("LOGOUT")
	}
}
