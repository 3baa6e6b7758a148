package check

import (
	"bytes"
	"strings"
	"testing"

	"mailproxy/internal/config"
	"mailproxy/internal/frontend"
	"mailproxy/internal/maillog"
)

// Of all mailhosts those are named that do not take the tokens which clients are offered.
func TestAllMailhostsTokens(t *testing.T) {
	imap := func(words string) string {
		return "S: * OK hello\nC: C0 CAPABILITY\nS: * CAPABILITY " + words +
			"\nS: C0 OK\nC: Q1 LOGOUT\nS: Q1 OK"
	}
	with := listenAs(t, imap("IMAP4rev1 AUTH=XOAUTH2"), true)
	without := listenAs(t, imap("IMAP4rev1 AUTH=PLAIN XAUTH=XOAUTH2"), true)
	p := program("IMAP")
	loaded, err := config.Load(nil, []string{"IMAP_CAPABILITY_TLS=IMAP4rev1 AUTH=XOAUTH2"},
		config.Protocol(p.Protocol.Name))
	if err != nil {
		t.Fatal(err)
	}
	s, err := frontend.New(frontend.Options{Protocol: p.Protocol, Config: loaded, Log: maillog.NewSilentLog(),
		Auth: list{options: []string{with, without}}})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	check := &check{report: &report{out: &out}, server: s}
	check.capabilities(t.Context())
	want := "warn  capability   XOAUTH2 is offered, but not by " + without +
		": clients that choose it are refused\n"
	if !strings.Contains(out.String(), want) || strings.Count(out.String(), "is offered, but") != 1 {
		t.Errorf("got\n%swant once %s", out.String(), want)
	}
}
