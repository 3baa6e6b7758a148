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
		wrong   = "the mailhost refuses the password"
		rights  = "the mailhost refuses PROXY_MASTER_USER: its password, or its right to act for others"
	)
	imap, pop3 := IMAP(), POP3()
	for _, c := range []struct {
		codes  Codes
		answer Answer
		by     By
		want   Verdict
	}{
		{imap, Answer{}, ByAccount, Verdict{Code: "AUTHENTICATIONFAILED", Why: refuses}},
		{imap, Answer{Code: "authenticationfailed"}, ByAccount,
			Verdict{Code: "AUTHENTICATIONFAILED", Why: refuses}},
		{imap, Answer{Kind: Nonsense}, ByAccount, Verdict{Code: "UNAVAILABLE", Next: true}},
		{imap, Answer{Kind: Nonsense, Code: "AUTHENTICATIONFAILED"}, ByMaster,
			Verdict{Code: "UNAVAILABLE", Next: true}},
		{imap, Answer{Code: "UNAVAILABLE"}, ByAccount,
			Verdict{Code: "UNAVAILABLE", Next: true, Why: trouble}},
		{imap, Answer{Code: "UNAVAILABLE"}, ByMaster, Verdict{Code: "UNAVAILABLE", Next: true, Why: trouble}},
		{imap, Answer{Code: "INUSE"}, ByAccount, Verdict{Code: "INUSE", Why: later}},
		{imap, Answer{Code: "LIMIT"}, ByMaster, Verdict{Code: "LIMIT", Why: later}},
		{imap, Answer{Code: "IN-USE"}, ByAccount, Verdict{Code: "CONTACTADMIN", Why: later}}, // POP3's
		{imap, Answer{Code: "AUTHORIZATIONFAILED"}, ByAccount,
			Verdict{Code: "AUTHORIZATIONFAILED", Why: account}},
		{imap, Answer{Code: "EXPIRED"}, ByAccount, Verdict{Code: "EXPIRED", Why: account}},
		{imap, Answer{Code: "EXPIRED"}, ByMaster, Verdict{Code: "EXPIRED", Why: account}},
		{imap, Answer{Code: "NOPERM"}, ByAccount, Verdict{Code: "NOPERM", Why: account}},
		{imap, Answer{Code: "PRIVACYREQUIRED"}, ByAccount, Verdict{Code: "PRIVACYREQUIRED", Why: account}},
		{imap, Answer{Code: "CONTACTADMIN"}, ByAccount, Verdict{Code: "CONTACTADMIN", Why: account}},
		{imap, Answer{Code: "OVERQUOTA"}, ByAccount, Verdict{Code: "OVERQUOTA", Why: account}},
		{imap, Answer{Code: "SERVERBUG x"}, ByAccount, Verdict{Code: "SERVERBUG", Why: account}},
		{imap, Answer{Code: "REFERRAL imap://ann@elsewhere/"}, ByAccount,
			Verdict{Code: "CONTACTADMIN", Why: account}},
		{imap, Answer{Code: "X-UNHEARD-OF"}, ByAccount, Verdict{Code: "CONTACTADMIN", Why: account}},
		{imap, Answer{Code: "ALERT"}, ByAccount, Verdict{Code: "UNAVAILABLE", alert: true, Why: alert}},
		{imap, Answer{Code: "ALERT"}, ByMaster, Verdict{Code: "UNAVAILABLE", alert: true, Why: alert}},
		{imap, Answer{}, ByMaster, Verdict{Code: "UNAVAILABLE", Level: Err, Why: rights}},
		{imap, Answer{Code: "AUTHENTICATIONFAILED"}, ByMaster,
			Verdict{Code: "UNAVAILABLE", Level: Err, Why: rights}},
		{imap, Answer{Code: "AUTHORIZATIONFAILED"}, ByMaster,
			Verdict{Code: "UNAVAILABLE", Level: Err, Why: rights}},
		{imap, Answer{Code: "NOPERM"}, ByMaster, Verdict{Code: "UNAVAILABLE", Level: Err, Why: rights}},

		{pop3, Answer{}, ByAccount, Verdict{Code: "AUTH", Why: refuses}},
		{pop3, Answer{Code: "auth"}, ByAccount, Verdict{Code: "AUTH", Why: refuses}},
		{pop3, Answer{Code: "AUTH/EXPIRED"}, ByAccount, Verdict{Code: "AUTH", Why: refuses}},
		{pop3, Answer{Kind: Nonsense}, ByAccount, Verdict{Code: "SYS/TEMP", Next: true}},
		{pop3, Answer{Code: "SYS/TEMP"}, ByAccount, Verdict{Code: "SYS/TEMP", Next: true, Why: trouble}},
		{pop3, Answer{Code: "SYS/TEMP/DISK"}, ByAccount, Verdict{Code: "SYS/TEMP", Next: true, Why: trouble}},
		{pop3, Answer{Code: "IN-USE"}, ByAccount, Verdict{Code: "IN-USE", Why: later}},
		{pop3, Answer{Code: "LOGIN-DELAY"}, ByAccount, Verdict{Code: "LOGIN-DELAY", Why: later}},
		{pop3, Answer{Code: "SYS/PERM"}, ByAccount, Verdict{Code: "SYS/PERM", Why: account}},
		{pop3, Answer{Code: "SYS"}, ByAccount, Verdict{Code: "SYS/PERM", Why: account}},
		{pop3, Answer{Code: "/"}, ByAccount, Verdict{Code: "SYS/PERM", Why: account}},
		{pop3, Answer{Code: "X-UNHEARD-OF"}, ByAccount, Verdict{Code: "SYS/PERM", Why: account}},
		{pop3, Answer{}, ByMaster, Verdict{Code: "SYS/TEMP", Level: Err, Why: rights}},
		{pop3, Answer{Code: "AUTH"}, ByMaster, Verdict{Code: "SYS/TEMP", Level: Err, Why: rights}},
		{pop3, Answer{Code: "SYS/PERM"}, ByMaster, Verdict{Code: "SYS/PERM", Why: account}},

		{imap, Answer{}, ByClient,
			Verdict{Failed: true, Code: "AUTHENTICATIONFAILED", Level: Info, Why: wrong}},
		{imap, Answer{Code: "AuthenticationFailed"}, ByClient,
			Verdict{Failed: true, Code: "AUTHENTICATIONFAILED", Level: Info, Why: wrong}},
		{imap, Answer{Kind: Nonsense}, ByClient, Verdict{Code: "UNAVAILABLE", Next: true}},
		{imap, Answer{Code: "UNAVAILABLE"}, ByClient, Verdict{Code: "UNAVAILABLE", Next: true, Why: trouble}},
		{imap, Answer{Code: "ALERT"}, ByClient, Verdict{Code: "UNAVAILABLE", alert: true, Why: alert}},
		{imap, Answer{Code: "EXPIRED"}, ByClient, Verdict{Code: "EXPIRED", Why: account}},
		{imap, Answer{Code: "AUTHORIZATIONFAILED"}, ByClient,
			Verdict{Code: "AUTHORIZATIONFAILED", Why: account}},
		{imap, Answer{Code: "INUSE"}, ByClient, Verdict{Code: "INUSE", Why: later}},
		{pop3, Answer{}, ByClient, Verdict{Failed: true, Code: "AUTH", Level: Info, Why: wrong}},
		{pop3, Answer{Code: "AUTH"}, ByClient, Verdict{Failed: true, Code: "AUTH", Level: Info, Why: wrong}},
		{pop3, Answer{Code: "SYS/TEMP"}, ByClient, Verdict{Code: "SYS/TEMP", Next: true, Why: trouble}},
		{pop3, Answer{Code: "SYS/PERM"}, ByClient, Verdict{Code: "SYS/PERM", Why: account}},
		{pop3, Answer{Code: "IN-USE"}, ByClient, Verdict{Code: "IN-USE", Why: later}},
	} {
		if got := c.codes.judge(c.answer, c.by); got != c.want {
			t.Errorf("%+v, by %v:\ngot  %+v\nwant %+v", c.answer, c.by, got, c.want)
		}
	}
}
