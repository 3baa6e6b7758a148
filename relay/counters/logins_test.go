package counters

import (
	"fmt"
	"strings"
	"testing"

	"mailproxy/relay"
	"mailproxy/relay/handoff"
	"mailproxy/tests/metricstest"
)

// TestMailhostsAreBounded: a million names are no concern.
func TestMailhostsAreBounded(t *testing.T) {
	c := NewLogins()
	add := func(mailhost string, failures ...relay.Failure) {
		t.Helper()
		r := relay.Report{Protocol: "IMAP", Result: relay.LoginOK, Mailhost: mailhost, Failures: failures}
		if err := c.Add(&r); err != nil {
			t.Fatal(err)
		}
	}
	for i := range maxMailhosts + 5 {
		add(fmt.Sprintf("mail%d", i), relay.Failure{Mailhost: fmt.Sprintf("mail%d", i), Step: "resolve"})
	}
	add("mail0")
	if n := len(c.hosts); n != maxMailhosts+1 { // those, and none
		t.Errorf("%d names", n)
	}
	var out strings.Builder
	c.Write(&out)
	sessions := map[string]int{"": 1, "MAIL3.": 2, "mail3": 1, "mail499": 7, "a b": 1}
	for i := range maxMailhosts {
		sessions[fmt.Sprintf("new%d", i)] = 1
	}
	c.WriteSessions(&out, sessions)
	metricstest.Lint(t, out.String())
	for _, line := range []string{
		`mailproxy_logins_total{protocol="imap",result="ok",mailhost="mail0"} 2`,
		`mailproxy_logins_total{protocol="imap",result="ok",mailhost="mail499"} 1`,
		`mailproxy_logins_total{protocol="imap",result="ok",mailhost="other"} 5`,
		`mailproxy_mailhost_failures_total{mailhost="other",step="resolve"} 5`,
		`mailproxy_logins_by_mechanism_total{protocol="imap",mechanism="other",tls="other",result="ok"} 506`,
		`mailproxy_mailhost_sessions{mailhost="mail3"} 3`, `mailproxy_mailhost_sessions{mailhost="mail499"} 7`,
		`mailproxy_mailhost_sessions{mailhost="mail4"} 0`, `mailproxy_mailhost_sessions{mailhost="other"} 502`,
	} {
		if !strings.Contains(out.String(), line+"\n") {
			t.Errorf("no %s", line)
		}
	}
}

// FuzzReport: what is not refused is counted once, under labels that are known, and the output stays
// well-formed.
func FuzzReport(f *testing.F) {
	f.Add("IMAP", "ok", "mail1.example.com", "1500", "mail0/connect,2001:db8::1%eth0/rejected")
	f.Add("POP3", "temporary", "", "0", "")
	f.Add("IMAP", "limit", "a\"b\\", "99999999999", "/,/,")
	f.Add("imap", "ok", "A.", "-1", "a/")
	f.Add("IMAP", "temporary", "", "7", strings.Repeat("a/connect,", relay.MaxFailures)+"b/tls")
	f.Fuzz(func(t *testing.T, protocol, result, mailhost, us, failed string) {
		fields := map[string]string{"PROTOCOL": protocol, "MAILHOST": mailhost, "LOGIN_US": us, "FAILED": failed,
			"LOGIN_MECHANISM": failed, "LOGIN_TLS": mailhost}
		l, err := handoff.ParseReport(fields)
		if err != nil {
			return
		}
		l.Result = relay.Result(result)
		c := NewLogins()
		want := 1.0
		if c.Add(l) != nil {
			want, l.Failures = 0, nil
		}
		var out strings.Builder
		c.Write(&out)
		samples := metricstest.Lint(t, out.String())
		logins, byMechanism, failures := 0.0, 0.0, 0.0
		for name, value := range samples {
			switch {
			case strings.HasPrefix(name, "mailproxy_logins_total{"):
				logins += value
			case strings.HasPrefix(name, "mailproxy_logins_by_mechanism_total{"):
				byMechanism += value
			case strings.HasPrefix(name, "mailproxy_mailhost_failures_total{"):
				failures += value
			}
		}
		told := min(len(l.Failures), relay.MaxFailures)
		if logins != want || byMechanism != want || failures != float64(told) {
			t.Fatalf("%v logins, %v failures:\n%s", logins, failures, out.String())
		}
	})
}
