package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"mailproxy/relay"
	"mailproxy/relay/handoff"
)

// TestReports: what front ends send, over the socket, is what the metrics say.
func TestReports(t *testing.T) {
	s := startService(t)
	for _, r := range []relay.Report{
		{Protocol: "IMAP", Result: relay.LoginOK, Mailhost: "mail2", Took: 2 * time.Millisecond,
			Failures: []relay.Failure{{Mailhost: "Mail1.", Step: "connect"}, {Mailhost: "mail1", Step: "connect"}}},
		{Protocol: "IMAP", Result: relay.LoginRefused, Took: 500 * time.Microsecond},
		{Protocol: "IMAP", Result: relay.LoginRefused, Mailhost: "mail2", Took: 40 * time.Millisecond,
			Failures: []relay.Failure{{Mailhost: "mail2", Step: "rejected"}}},
		{Protocol: "POP3", Result: relay.LoginTemporary, Mailhost: "2001:db8::1", Took: 31 * time.Second,
			Failures: []relay.Failure{{Mailhost: "2001:db8::1", Step: "tls"},
				{Mailhost: "2001:db8::1", Step: "of next year"}}},
		{Protocol: "POP3", Result: relay.LoginLocal},
		{Protocol: "POP3", Result: relay.LoginDisabled},
		{Protocol: "SMTP", Result: relay.LoginLocal},
		{Protocol: "IMAP", Result: "odd"},
		{Protocol: "IMAP", Result: relay.LoginOK, Mailhost: `a"b`},
	} {
		if err := (&handoff.Client{Socket: s.socket}).Report(&r); err != nil {
			t.Fatal(err)
		}
	}
	waitFor(t, func() bool { return s.counters.reported.Load() == 9 })
	wantMetrics(t, s, `
mailproxy_logins_total{protocol="imap",result="refused",mailhost=""} 1
mailproxy_logins_total{protocol="pop3",result="local",mailhost=""} 1
mailproxy_logins_total{protocol="pop3",result="disabled",mailhost=""} 1
mailproxy_logins_total{protocol="pop3",result="temporary",mailhost="2001:db8::1"} 1
mailproxy_logins_total{protocol="imap",result="ok",mailhost="mail2"} 1
mailproxy_logins_total{protocol="imap",result="refused",mailhost="mail2"} 1
mailproxy_login_seconds_bucket{protocol="imap",result="refused",le="0.001"} 1
mailproxy_login_seconds_bucket{protocol="imap",result="refused",le="0.03"} 1
mailproxy_login_seconds_bucket{protocol="imap",result="refused",le="0.1"} 2
mailproxy_login_seconds_bucket{protocol="imap",result="refused",le="+Inf"} 2
mailproxy_login_seconds_sum{protocol="imap",result="refused"} 0.0405
mailproxy_login_seconds_count{protocol="imap",result="refused"} 2
mailproxy_login_seconds_bucket{protocol="pop3",result="temporary",le="30"} 0
mailproxy_login_seconds_bucket{protocol="pop3",result="temporary",le="+Inf"} 1
mailproxy_mailhost_failures_total{mailhost="2001:db8::1",step="tls"} 1
mailproxy_mailhost_failures_total{mailhost="2001:db8::1",step="other"} 1
mailproxy_mailhost_failures_total{mailhost="mail1",step="connect"} 2
mailproxy_mailhost_failures_total{mailhost="mail2",step="rejected"} 1
mailproxy_relayd_reports_malformed_total 3`)
}

// TestSessionsAreLogins: a session tells of its login itself, whether it is taken or refused by a limit;
// one that says nothing of it or nonsense is a session all the same.
func TestSessionsAreLogins(t *testing.T) {
	s := startService(t, "-maxperuser", "1")
	login := func(user, mailhost string) relay.Info {
		i := info(user)
		i.Mailhost = mailhost
		i.Login = &relay.Report{Took: 5 * time.Millisecond,
			Failures: []relay.Failure{{Mailhost: "mail0", Step: "greeting"}}}
		return i
	}
	begin := func(i relay.Info) {
		t.Helper()
		if _, _, err := s.hand(t, i); err != nil {
			t.Fatal(err)
		}
	}
	begin(login("ann", "mail1"))
	if _, _, err := s.hand(t, login("ann", "mail1")); !errors.Is(err, relay.ErrLimit) {
		t.Fatal(err)
	}
	begin(info("silent"))
	begin(login("odd", "no mailhost"))
	waitFor(t, func() bool { return s.engine.Totals().Taken == 3 })
	text := wantMetrics(t, s, `
mailproxy_logins_total{protocol="imap",result="ok",mailhost="mail1"} 1
mailproxy_logins_total{protocol="imap",result="limit",mailhost="mail1"} 1
mailproxy_login_seconds_bucket{protocol="imap",result="ok",le="0.003"} 0
mailproxy_login_seconds_bucket{protocol="imap",result="ok",le="0.01"} 1
mailproxy_mailhost_failures_total{mailhost="mail0",step="greeting"} 2
mailproxy_relayd_reports_malformed_total 1`)
	if n := strings.Count(text, "mailproxy_logins_total{"); n != 2 {
		t.Errorf("%d kinds of logins:\n%s", n, text)
	}
}

// TestReportIsAnsweredOnlyWhenWrong: with FAIL and a reason.
func TestReportIsAnsweredOnlyWhenWrong(t *testing.T) {
	s := startService(t)
	good := map[string]string{"PROTOCOL": "IMAP", "RESULT": "ok", "MAILHOST": "m", "LOGIN_US": "1",
		"FAILED": "a/tls"}
	for _, tc := range []struct{ name, value, reason string }{
		{"IGNORED", "x", ""},
		{"PROTOCOL", "", "unknown PROTOCOL or RESULT"},
		{"RESULT", "OK", "unknown PROTOCOL or RESULT"},
		{"MAILHOST", "a b", `MAILHOST cannot hold ' '`},
		{"MAILHOST", strings.Repeat("m", 301), "MAILHOST is not a name of 1 to 300 bytes"},
		{"LOGIN_US", "", "LOGIN_US is not a number of microseconds"},
		{"LOGIN_US", "-1", "LOGIN_US is not a number of microseconds"},
		{"LOGIN_US", "3600000001", "LOGIN_US is not a number of microseconds"},
		{"FAILED", "mail1", "FAILED is not a list of mailhost/step"},
		{"FAILED", "a/tls,", "FAILED is not a list of mailhost/step"},
		{"FAILED", "/tls", "MAILHOST is not a name of 1 to 300 bytes"},
		{"FAILED", strings.Repeat("a/tls,", relay.MaxFailures) + "a/tls", ""}, // the first are counted
	} {
		m := &handoff.Message{Verb: "REPORT", Fields: map[string]string{}}
		for name, value := range good {
			m.Fields[name] = value
		}
		m.Fields[tc.name] = tc.value
		err := handoff.Ask(context.Background(), s.socket, nil, m, io.Discard)
		if got := fmt.Sprint(err); !strings.Contains(got, "FAIL "+tc.reason) && tc.reason != "" ||
			tc.reason == "" && !strings.Contains(got, "closed the connection") {
			t.Errorf("%s=%.20s: %v", tc.name, tc.value, err)
		}
	}
	if l := s.counters.malformed.Load(); l != 10 {
		t.Errorf("%d malformed", l)
	}
}

// BenchmarkReport is both sides of a report.
func BenchmarkReport(b *testing.B) {
	s := startService(b)
	r := relay.Report{Protocol: "IMAP", Result: relay.LoginRefused, Took: time.Millisecond}
	for b.Loop() {
		if err := (&handoff.Client{Socket: s.socket}).Report(&r); err != nil {
			time.Sleep(time.Microsecond)
		}
	}
}
