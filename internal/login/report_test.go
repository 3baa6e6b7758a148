package login

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mailproxy/internal/facts"
	"mailproxy/internal/mailhost"
	"mailproxy/relay"
	"mailproxy/tests/logintest"
)

// fakeReports keeps what it is told, without the time that a login took.
type fakeReports struct {
	absent  bool
	reports []relay.Report
}

func (f *fakeReports) Available() bool { return !f.absent }

func (f *fakeReports) Report(r *relay.Report) error {
	told := *r
	told.Took = 0
	f.reports = append(f.reports, told)
	return nil
}

// Each login that becomes no session of a mailhost's is one report, whatever became of it.
func TestReportLogin(t *testing.T) {
	rejected := &RejectedError{Step: mailhost.StepPassword, Answer: Answer{Text: "no"}}
	failed := func(steps ...string) (failures []relay.Failure) {
		for i := 0; i < len(steps); i += 2 {
			failures = append(failures, relay.Failure{Mailhost: steps[i], Step: relay.Step(steps[i+1])})
		}
		return failures
	}
	for _, test := range []struct {
		name    string
		options string
		c       *Credentials
		err     error // of the auth module
		want    relay.Report
	}{
		{"wrong password", "", password("bob", "x"), nil, relay.Report{Result: relay.LoginRefused}},
		{"no auth module", "", password("bob", "secret"), errors.New("down"),
			relay.Report{Result: relay.LoginTemporary}},
		{"disabled", "disableimap=1", password("bob", "secret"), nil, relay.Report{Result: relay.LoginDisabled}},
		{"here", "mailhost=proxy.example.com", password("bob", "secret"), nil,
			relay.Report{Result: relay.LoginLocal}},
		{"bad option", "mailhost=a/b", password("bob", "secret"), nil, relay.Report{Result: relay.LoginTemporary}},
		{"no such name", "mailhost=nowhere", password("bob", "secret"), nil, relay.Report{
			Result: relay.LoginTemporary, Mailhost: "nowhere", Failures: failed("nowhere", "resolve"),
		}},
		{"nobody listens", "mailhost=down", password("bob", "secret"), nil, relay.Report{
			Result: relay.LoginTemporary, Mailhost: "down", Failures: failed("down", "connect", "down", "connect"),
		}},
		{"loop", "mailhost=192.0.2.1", password("bob", "secret"), nil, relay.Report{
			Result: relay.LoginTemporary, Mailhost: "192.0.2.1", Failures: failed("192.0.2.1", "connect"),
		}},
		{"rejected by the second", "mailhost=down;no;yes", password("bob", "secret"), nil, relay.Report{
			Result: relay.LoginTemporary, Mailhost: "no",
			Failures: failed("down", "connect", "down", "connect", "no", "rejected"),
		}},
		{"broken", "mailhost=broken", password("bob", "secret"), nil, relay.Report{
			Result: relay.LoginTemporary, Mailhost: "broken", Failures: failed("broken", "greeting"),
		}},
	} {
		w := newWorld(t, imap, "IMAP_PROXY=1")
		told := &fakeReports{}
		w.service.Reports = told
		w.auth.Add("bob", test.options)
		w.auth.Err = test.err
		w.Hosts = map[string][]string{
			"down": {"127.0.0.8", "127.0.0.9"}, "no": {"127.0.0.2"}, "yes": {"127.0.0.3"}, "broken": {"127.0.0.4"},
		}
		w.Servers["127.0.0.2:143"], w.Servers["127.0.0.3:143"] = logintest.Says(rejected), logintest.Says(nil)
		gone := &mailhost.StepError{Step: mailhost.StepGreeting, Err: errors.New("gone")}
		w.Servers["127.0.0.4:143"] = logintest.Says(gone)
		_, _ = w.Login(t.Context(), test.c)
		test.want.Protocol, test.want.Mechanism, test.want.TLS = "IMAP", "LOGIN", "none"
		if diff := cmp.Diff([]relay.Report{test.want}, told.reports); diff != "" {
			t.Errorf("%s: %s", test.name, diff)
		}
	}
}

// A login that has become a session is reported by the hand-over, once, with what it took to
// get there.
func TestReportSession(t *testing.T) {
	for _, known := range []bool{false, true} {
		w := newWorld(t, imap, "IMAP_PROXY=1")
		told := &fakeReports{}
		w.service.Reports = told
		w.auth.Add("bob", "mailhost=down;up")
		w.Hosts = map[string][]string{"down": {"127.0.0.8"}, "up": {"127.0.0.2"}}
		w.Servers["127.0.0.2:143"] = logintest.Says(nil)
		now := time.Now()
		w.service.System.Now = func() time.Time { return now }
		if _, err := w.Login(t.Context(), password("bob", "secret")); err != nil || len(told.reports) > 0 {
			t.Fatalf("%v, reported %v", err, told.reports)
		}
		now = now.Add(time.Second)
		failures := []relay.Failure{{Mailhost: "down", Step: "connect"}}
		if diff := cmp.Diff(&relay.Report{Mechanism: "LOGIN", TLS: "none", Took: time.Second, Failures: failures},
			w.ReportSoFar()); diff != "" {
			t.Error(diff)
		}
		want := []relay.Report{{Protocol: "IMAP", Result: relay.LoginOK, Mailhost: "up", Mechanism: "LOGIN",
			TLS:      "none",
			Failures: failures}}
		if known {
			w.MarkReported()
			want = nil
		}
		w.Report(relay.LoginOK, "up")
		w.Report(relay.LoginOK, "up")
		if diff := cmp.Diff(want, told.reports); diff != "" {
			t.Errorf("relayd knows: %v: %s", known, diff)
		}
	}
}

// Every login of a session is reported by itself.
func TestReportAgain(t *testing.T) {
	w := newWorld(t, pop3, "POP3_PROXY=1")
	told := &fakeReports{}
	w.service.Reports = told
	w.auth.Add("bob", "mailhost=nowhere")
	for _, word := range []string{"secret", "x"} {
		_, _ = w.Login(t.Context(), password("bob", word))
	}
	want := []relay.Report{
		{
			Protocol: "POP3", Result: relay.LoginTemporary, Mailhost: "nowhere", Mechanism: "LOGIN", TLS: "none",
			Failures: []relay.Failure{{Mailhost: "nowhere", Step: "resolve"}},
		},
		{Protocol: "POP3", Result: relay.LoginRefused, Mechanism: "LOGIN", TLS: "none"},
	}
	if diff := cmp.Diff(want, told.reports); diff != "" {
		t.Error(diff)
	}
}

// Without a relayd nothing is reported.
func TestReportToNobody(t *testing.T) {
	w := newWorld(t, imap)
	told := &fakeReports{absent: true}
	w.service.Reports = told
	_, err := w.Login(t.Context(), password("bob", "x"))
	if !errors.Is(err, ErrRefused) || told.reports != nil {
		t.Errorf("%v, reported %v", err, told.reports)
	}
}

// TestTLSVersion: in the words of all who tell of it.
func TestTLSVersion(t *testing.T) {
	for protocol, want := range map[string]string{
		"TLS1.3,256bits,AES_256_GCM_SHA384": "1.3", "TLSv1.2": "1.2", "TLS1.0": "1.0", "TLS": "other",
		"TLS1.30": "other", "": "other", "SSLv3": "other",
	} {
		s := &Session{TLS: true}
		s.Peer.TLS = facts.Over(protocol)
		if got := s.tlsVersion(); got != want {
			t.Errorf("%s: %s", protocol, got)
		}
	}
}
