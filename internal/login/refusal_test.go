package login

import "testing"

// The table of mailproxy(5), REFUSALS, answer by answer.
func TestJudge(t *testing.T) {
	const (
		refuses = "the mailhost refuses a password that the account database has verified"
		later   = "the mailhost takes no further login now"
		account = "the mailhost does not serve the account"
		trouble = "the mailhost has trouble of its own"
		alert   = "the mailhost refuses with a message for the user"
		rights  = "the mailhost refuses PROXY_MASTER_USER: its password, or its right to act for others"
	)
	imap, pop3 := IMAP(), POP3()
	for _, c := range []struct {
		codes  Codes
		answer Answer
		master bool
		want   Verdict
	}{
		{imap, Answer{}, false, Verdict{Code: "AUTHENTICATIONFAILED", Why: refuses}},
		{imap, Answer{Code: "authenticationfailed"}, false, Verdict{Code: "AUTHENTICATIONFAILED", Why: refuses}},
		{imap, Answer{Kind: Nonsense}, false, Verdict{Code: "UNAVAILABLE", Next: true}},
		{imap, Answer{Kind: Nonsense, Code: "AUTHENTICATIONFAILED"}, true, Verdict{Code: "UNAVAILABLE", Next: true}},
		{imap, Answer{Code: "UNAVAILABLE"}, false, Verdict{Code: "UNAVAILABLE", Next: true, Why: trouble}},
		{imap, Answer{Code: "UNAVAILABLE"}, true, Verdict{Code: "UNAVAILABLE", Next: true, Why: trouble}},
		{imap, Answer{Code: "INUSE"}, false, Verdict{Code: "INUSE", Why: later}},
		{imap, Answer{Code: "LIMIT"}, true, Verdict{Code: "LIMIT", Why: later}},
		{imap, Answer{Code: "IN-USE"}, false, Verdict{Code: "CONTACTADMIN", Why: later}}, // POP3's
		{imap, Answer{Code: "AUTHORIZATIONFAILED"}, false, Verdict{Code: "AUTHORIZATIONFAILED", Why: account}},
		{imap, Answer{Code: "EXPIRED"}, false, Verdict{Code: "EXPIRED", Why: account}},
		{imap, Answer{Code: "EXPIRED"}, true, Verdict{Code: "EXPIRED", Why: account}},
		{imap, Answer{Code: "NOPERM"}, false, Verdict{Code: "NOPERM", Why: account}},
		{imap, Answer{Code: "PRIVACYREQUIRED"}, false, Verdict{Code: "PRIVACYREQUIRED", Why: account}},
		{imap, Answer{Code: "CONTACTADMIN"}, false, Verdict{Code: "CONTACTADMIN", Why: account}},
		{imap, Answer{Code: "OVERQUOTA"}, false, Verdict{Code: "OVERQUOTA", Why: account}},
		{imap, Answer{Code: "SERVERBUG x"}, false, Verdict{Code: "SERVERBUG", Why: account}},
		{imap, Answer{Code: "REFERRAL imap://ann@elsewhere/"}, false, Verdict{Code: "CONTACTADMIN", Why: account}},
		{imap, Answer{Code: "X-UNHEARD-OF"}, false, Verdict{Code: "CONTACTADMIN", Why: account}},
		{imap, Answer{Code: "ALERT"}, false, Verdict{Code: "UNAVAILABLE", Alert: true, Why: alert}},
		{imap, Answer{Code: "ALERT"}, true, Verdict{Code: "UNAVAILABLE", Alert: true, Why: alert}},
		{imap, Answer{}, true, Verdict{Code: "UNAVAILABLE", Level: Err, Why: rights}},
		{imap, Answer{Code: "AUTHENTICATIONFAILED"}, true, Verdict{Code: "UNAVAILABLE", Level: Err, Why: rights}},
		{imap, Answer{Code: "AUTHORIZATIONFAILED"}, true, Verdict{Code: "UNAVAILABLE", Level: Err, Why: rights}},
		{imap, Answer{Code: "NOPERM"}, true, Verdict{Code: "UNAVAILABLE", Level: Err, Why: rights}},

		{pop3, Answer{}, false, Verdict{Code: "AUTH", Why: refuses}},
		{pop3, Answer{Code: "auth"}, false, Verdict{Code: "AUTH", Why: refuses}},
		{pop3, Answer{Code: "AUTH/EXPIRED"}, false, Verdict{Code: "AUTH", Why: refuses}},
		{pop3, Answer{Kind: Nonsense}, false, Verdict{Code: "SYS/TEMP", Next: true}},
		{pop3, Answer{Code: "SYS/TEMP"}, false, Verdict{Code: "SYS/TEMP", Next: true, Why: trouble}},
		{pop3, Answer{Code: "SYS/TEMP/DISK"}, false, Verdict{Code: "SYS/TEMP", Next: true, Why: trouble}},
		{pop3, Answer{Code: "IN-USE"}, false, Verdict{Code: "IN-USE", Why: later}},
		{pop3, Answer{Code: "LOGIN-DELAY"}, false, Verdict{Code: "LOGIN-DELAY", Why: later}},
		{pop3, Answer{Code: "SYS/PERM"}, false, Verdict{Code: "SYS/PERM", Why: account}},
		{pop3, Answer{Code: "SYS"}, false, Verdict{Code: "SYS/PERM", Why: account}},
		{pop3, Answer{Code: "/"}, false, Verdict{Code: "SYS/PERM", Why: account}},
		{pop3, Answer{Code: "X-UNHEARD-OF"}, false, Verdict{Code: "SYS/PERM", Why: account}},
		{pop3, Answer{}, true, Verdict{Code: "SYS/TEMP", Level: Err, Why: rights}},
		{pop3, Answer{Code: "AUTH"}, true, Verdict{Code: "SYS/TEMP", Level: Err, Why: rights}},
		{pop3, Answer{Code: "SYS/PERM"}, true, Verdict{Code: "SYS/PERM", Why: account}},
	} {
		if got := c.codes.Judge(c.answer, c.master); got != c.want {
			t.Errorf("%+v, master %v:\ngot  %+v\nwant %+v", c.answer, c.master, got, c.want)
		}
	}
}
