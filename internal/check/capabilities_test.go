package check

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"mailproxy/authlib"
	"mailproxy/internal/config"
	"mailproxy/internal/frontend"
	"mailproxy/internal/login"
	"mailproxy/internal/maillog"
)

// list is an auth module that has these mailhost options, one account each.
type list struct {
	login.AuthModule
	options []string
	err     error
}

func (l list) Enumerate(_ context.Context, yield func(*authlib.Account) error) error {
	for _, o := range l.options {
		if err := yield(&authlib.Account{Address: "ann", Options: authlib.Options("mailhost=" + o)}); err != nil {
			return err
		}
	}
	return l.err
}

// Each mailhost of all accounts is asked once, and what all of them have is the line to write down.
func TestAllCapabilities(t *testing.T) {
	imap := func(words string) string {
		return "S: * OK hello\nC: C0 CAPABILITY\nS: * CAPABILITY " + words +
			"\nS: C0 OK\nC: Q1 LOGOUT\nS: Q1 OK"
	}
	first := listenAs(t, imap("IMAP4rev1 LITERAL+ IDLE SORT AUTH=PLAIN STARTTLS"), true)
	second := listenAs(t, imap("imap4rev1 idle literal+ THREAD=REFS LOGINDISABLED"), true)
	popFirst := listenAs(t, "S: +OK\nC: CAPA\nS: +OK\nS: TOP\nS: UTF8\nS: USER\nS: .\nC: QUIT\nS: +OK", true)
	popSecond := listenAs(t, "S: +OK\nC: CAPA\nS: +OK\nS: TOP\nS: UIDL\nS: .\nC: QUIT\nS: +OK", true)
	down := listenAs(t, "", false)
	for _, c := range []struct {
		name   string
		proto  string
		auth   list
		want   []string
		failed bool
	}{
		{"imap", "IMAP", list{options: []string{first, second + ";" + first, "", first}}, []string{
			"warn  capability   " + first + " has what others do not: SORT",
			"warn  capability   " + second + " has what others do not: THREAD=REFS",
			"info  capability   these are the lists before the login",
			"ok    capability   2 mailhosts have all of it: " +
				`IMAP_CAPABILITY="IMAP4rev1 IDLE LITERAL+ AUTH=PLAIN SASL-IR"`,
		}, false},
		{"pop3", "POP3", list{options: []string{popFirst, popSecond}}, []string{
			"warn  capability   " + popFirst + " has what others do not: UTF8",
			"ok    capability   2 mailhosts have all of it: TOP; POP3_UTF8=NO",
		}, false},
		{"down", "IMAP", list{options: []string{down}},
			[]string{"fail  mailhost     " + down, "warn  capability   no mailhost was asked"}, true},
		{"no list", "IMAP", list{err: errors.New("broken")},
			[]string{"fail  auth         list of accounts: broken"}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out bytes.Buffer
			p := program(c.proto)
			environ := []string{"IMAP_CAPABILITY=IMAP4rev1 AUTH=PLAIN SASL-IR X"}
			loaded, err := config.Load(nil, environ, config.Protocol(p.Protocol.Name))
			if err != nil {
				t.Fatal(err)
			}
			s, err := frontend.New(frontend.Options{
				Protocol: p.Protocol, Config: loaded, Log: maillog.NewSilentLog(), Auth: c.auth,
			})
			if err != nil {
				t.Fatal(err)
			}
			check := &check{report: &report{out: &out}, server: s}
			check.capabilities(t.Context())
			for _, want := range c.want {
				if strings.Count(out.String(), want) != 1 {
					t.Errorf("got\n%swant once %q", out.String(), want)
				}
			}
			if check.report.failed != c.failed {
				t.Errorf("failed: %v\n%s", check.report.failed, out.String())
			}
		})
	}
}
