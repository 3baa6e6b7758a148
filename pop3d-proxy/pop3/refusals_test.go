package pop3

import (
	"testing"

	"mailproxy/tests/fronttest"
)

// mailproxy(5), REFUSALS: what a mailhost may answer to USER, PASS and AUTH.
func TestRefusals(t *testing.T) {
	const (
		user    = "S: +OK hello\nC: USER fay\n"
		pass    = user + "S: +OK\nC: PASS geheim\n"
		capa    = "S: +OK hello\nC: CAPA\nS: +OK\nS: SASL PLAIN\nS: .\n"
		master  = capa + "C: AUTH PLAIN ZmF5AG1hc3RlcgBtcHc=\n"
		busy    = "-ERR [SYS/TEMP] Temporary problem, please try again later"
		refused = "-ERR [AUTH] Login failed."
		admin   = "-ERR [SYS/PERM] Mail server cannot open the mailbox, please call the postmaster"
	)
	for _, c := range []struct {
		name, mailhost, client, level, log string
		master, next                       bool
	}{
		{name: "no code", mailhost: pass + "S: -ERR mailbox is locked", client: refused, level: "WARN",
			log: "Login password rejected by 192.0.2.99, address=192.0.2.99:110, step=password, user=fay: " +
				"the mailhost refuses a password that the account database has verified: -ERR mailbox is locked"},
		{name: "AUTH", mailhost: pass + "S: -ERR [AUTH] geheim?", client: refused, level: "WARN",
			log: "verified: -ERR [AUTH] ***?"},
		{name: "nonsense", mailhost: pass + "S: What?", client: busy, level: "WARN", log: "What?", next: true},
		{name: "hangs up", mailhost: pass + "S-", client: busy, level: "WARN", log: "step=password", next: true},
		{name: "SYS/TEMP", mailhost: pass + "S: -ERR [SYS/TEMP] disk", client: busy, level: "WARN", log: "disk",
			next: true},
		{name: "SYS/TEMP to USER", mailhost: user + "S: -ERR [SYS/TEMP] disk", client: busy, level: "WARN",
			log: "step=user", next: true},
		{name: "IN-USE", mailhost: pass + "S: -ERR [IN-USE] x",
			client: "-ERR [IN-USE] Mailbox is in use, please try again later",
			level:  "WARN"},
		{name: "LOGIN-DELAY", mailhost: pass + "S: -ERR [LOGIN-DELAY] x",
			client: "-ERR [LOGIN-DELAY] Too many logins, please try again later",
			level:  "WARN"},
		{name: "SYS/PERM", mailhost: pass + "S: -ERR [SYS/PERM] x", client: admin, level: "WARN"},
		{name: "another code", mailhost: pass + "S: -ERR [X-NEW] x", client: admin, level: "WARN"},
		{name: "master, no code", mailhost: master + "S: -ERR x", client: busy, level: "ERR",
			log: "PROXY_MASTER_USER", master: true},
		{name: "master, AUTH", mailhost: master + "S: -ERR [AUTH] x", client: busy, level: "ERR",
			log: "PROXY_MASTER_USER", master: true},
		{name: "master, SYS/PERM", mailhost: master + "S: -ERR [SYS/PERM] x", client: admin, level: "WARN",
			master: true},
	} {
		front().Refusals(t, []fronttest.Refusal{{
			Name: c.name, Mailhost: c.mailhost, Level: c.level, Log: c.log, Master: c.master, Next: c.next,
			Client: "S* .*\nC: USER fay\nS* .*\nC: PASS geheim\nS: " + c.client + "\nC: QUIT\nS* .*\nS-",
		}})
	}
}
