package imap

import (
	"testing"

	"mailproxy/tests/fronttest"
)

// mailproxy(5), REFUSALS: what a mailhost may answer to LOGIN and AUTHENTICATE.
func TestRefusals(t *testing.T) {
	const (
		greets  = "S: * OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR] hello\n"
		login   = greets + "C: a LOGIN \"fay\" \"geheim\"\n"
		master  = greets + "C: a AUTHENTICATE PLAIN ZmF5AG1hc3RlcgBtcHc=\n"
		busy    = "a NO [UNAVAILABLE] Temporary problem, please try again later"
		refused = "a NO [AUTHENTICATIONFAILED] Login failed."
		admin   = "a NO [CONTACTADMIN] The mailbox cannot be opened, please call the postmaster"
	)
	for _, c := range []struct {
		answer, client, level, log string
		master, next               bool
	}{
		{answer: "S: a NO sorry", client: refused, level: "WARN",
			log: "refuses a password that the account database has verified: a NO sorry"},
		{answer: "S: a NO [AUTHENTICATIONFAILED] geheim?", client: refused, level: "WARN",
			log: "verified: a NO [AUTHENTICATIONFAILED] ***?"},
		{answer: "S: a BAD what?", client: busy, level: "WARN", log: "a BAD what?", next: true},
		{answer: "S: * BYE overloaded\nS-", client: busy, level: "WARN", log: "* BYE overloaded", next: true},
		{answer: "S-", client: busy, level: "WARN", log: "step=login", next: true},
		{answer: "S: a MAYBE", client: busy, level: "WARN", log: "a MAYBE", next: true},
		{answer: "S: a NO [UNAVAILABLE] database down", client: busy, level: "WARN", log: "database down",
			next: true},
		{answer: "S: a NO [INUSE] locked", client: "a NO [INUSE] Mailbox is in use, please try again later",
			level: "WARN", log: "locked"},
		{answer: "S: a NO [LIMIT] ten already",
			client: "a NO [LIMIT] A limit does not allow this login, please try again later",
			level:  "WARN", log: "ten already"},
		{answer: "S: a NO [AUTHORIZATIONFAILED] x",
			client: "a NO [AUTHORIZATIONFAILED] The mail server does not allow this login, please call the postmaster",
			level:  "WARN"},
		{answer: "S: a NO [NOPERM] x",
			client: "a NO [NOPERM] The mail server does not allow this login, please call the postmaster",
			level:  "WARN"},
		{answer: "S: a NO [EXPIRED] x", client: "a NO [EXPIRED] The password has expired", level: "WARN"},
		{answer: "S: a NO [PRIVACYREQUIRED] use TLS", client: "a NO [PRIVACYREQUIRED] STARTTLS required",
			level: "WARN"},
		{answer: "S: a NO [OVERQUOTA] x", client: "a NO [OVERQUOTA] The mailbox is full", level: "WARN"},
		{answer: "S: a NO [CONTACTADMIN] x", client: admin, level: "WARN"},
		{answer: "S: a NO [REFERRAL imap://fay@other/] try there", client: admin, level: "WARN",
			log: "[REFERRAL imap://fay@other/]"},
		{answer: "S: a NO [X-NEW 1] x", client: admin, level: "WARN"},
		{answer: "S: a NO [ALERT] too many connections\x01 geheim",
			client: "* NO [ALERT] too many connections\\001 ***\nS: " + busy,
			level:  "WARN", log: "too many connections"},
		{answer: "S: a NO x", client: busy, level: "ERR", log: "PROXY_MASTER_USER", master: true},
		{answer: "S: a NO [AUTHENTICATIONFAILED] x", client: busy, level: "ERR", log: "PROXY_MASTER_USER",
			master: true},
		{answer: "S: a NO [AUTHORIZATIONFAILED] x", client: busy, level: "ERR", log: "PROXY_MASTER_USER",
			master: true},
		{answer: "S: a NO [NOPERM] x", client: busy, level: "ERR", log: "PROXY_MASTER_USER", master: true},
		{answer: "S: a NO [EXPIRED] x", client: "a NO [EXPIRED] The password has expired", level: "WARN",
			master: true},
	} {
		said := login
		if c.master {
			said = master
		}
		name := c.answer
		if c.master {
			name += ", master"
		}
		front().Refusals(t, []fronttest.Refusal{{
			Name: name, Mailhost: said + c.answer, Level: c.level, Log: c.log, Master: c.master, Next: c.next,
			Client: "S* .*\nC: a LOGIN fay geheim\nS: " + c.client + "\nC: b LOGOUT\nS* b OK .*\nS-",
		}})
	}
}
