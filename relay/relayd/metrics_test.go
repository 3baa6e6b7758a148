package main

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"mailproxy/relay"
	"mailproxy/tests/metricstest"
	"mailproxy/tests/testlog"
)

// wantMetrics asks for the metrics until they have the lines, and returns all.
func wantMetrics(t *testing.T, s *testService, lines string) string {
	t.Helper()
	var text string
	wanted := strings.Split(lines, "\n")
	missing := func() []string {
		var err error
		if text, _, err = ask(s.socket, "stats"); err != nil {
			t.Fatal(err)
		}
		have := strings.Split(text, "\n")
		return slices.DeleteFunc(slices.Clone(wanted), func(l string) bool { return slices.Contains(have, l) })
	}
	if !testlog.Eventually(func() bool { return len(missing()) == 0 }) {
		t.Errorf("no %s in\n%s", strings.Join(missing(), "\n"), text)
	}
	metricstest.Lint(t, text)
	return text
}

// TestManual: man/relayd.8 has every metric, and no other.
func TestManual(t *testing.T) {
	s := startService(t)
	if err := s.counters.logins.Add(&relay.Report{Protocol: "IMAP", Result: relay.LoginOK, Mailhost: "mail1",
		Failures: []relay.Failure{{Mailhost: "mail2", Step: "tls"}}}); err != nil {
		t.Fatal(err)
	}
	text := wantMetrics(t, s, "")
	page, err := os.ReadFile("../../man/relayd.8")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(page), "\n.Sh METRICS\n")
	section, _, _ = strings.Cut(section, "\n.Sh ")
	name := regexp.MustCompile(`(?:mailproxy|process)_[a-z_]+`)
	inManual := name.FindAllString(section, -1)
	var served []string
	for _, head := range regexp.MustCompile(`(?m)^# TYPE (\S+) `).FindAllStringSubmatch(text, -1) {
		served = append(served, head[1])
	}
	slices.Sort(inManual)
	slices.Sort(served)
	if !slices.Equal(inManual, served) {
		t.Errorf("in the manual:\n%s\nserved:\n%s", strings.Join(inManual, "\n"), strings.Join(served, "\n"))
	}
}
