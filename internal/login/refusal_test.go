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
		by     passwordOwner
		want   verdict
	}{
		{imap, Answer{}, passwordOfAccount, verdict{code: "AUTHENTICATIONFAILED", why: refuses}},
		{imap, Answer{Code: "authenticationfailed"}, passwordOfAccount,
			verdict{code: "AUTHENTICATIONFAILED", why: refuses}},
		{imap, Answer{Kind: Undecided}, passwordOfAccount, verdict{code: "UNAVAILABLE", next: true}},
		{imap, Answer{Kind: Undecided, Code: "AUTHENTICATIONFAILED"}, passwordOfMaster,
			verdict{code: "UNAVAILABLE", next: true}},
		{imap, Answer{Code: "UNAVAILABLE"}, passwordOfAccount,
			verdict{code: "UNAVAILABLE", next: true, why: trouble}},
		{imap, Answer{Code: "UNAVAILABLE"}, passwordOfMaster,
			verdict{code: "UNAVAILABLE", next: true, why: trouble}},
		{imap, Answer{Code: "INUSE"}, passwordOfAccount, verdict{code: "INUSE", why: later}},
		{imap, Answer{Code: "LIMIT"}, passwordOfMaster, verdict{code: "LIMIT", why: later}},
		{imap, Answer{Code: "IN-USE"}, passwordOfAccount, verdict{code: "CONTACTADMIN", why: later}}, // POP3's
		{imap, Answer{Code: "AUTHORIZATIONFAILED"}, passwordOfAccount,
			verdict{code: "AUTHORIZATIONFAILED", why: account}},
		{imap, Answer{Code: "EXPIRED"}, passwordOfAccount, verdict{code: "EXPIRED", why: account}},
		{imap, Answer{Code: "EXPIRED"}, passwordOfMaster, verdict{code: "EXPIRED", why: account}},
		{imap, Answer{Code: "NOPERM"}, passwordOfAccount, verdict{code: "NOPERM", why: account}},
		{imap, Answer{Code: "PRIVACYREQUIRED"}, passwordOfAccount, verdict{code: "PRIVACYREQUIRED", why: account}},
		{imap, Answer{Code: "CONTACTADMIN"}, passwordOfAccount, verdict{code: "CONTACTADMIN", why: account}},
		{imap, Answer{Code: "OVERQUOTA"}, passwordOfAccount, verdict{code: "OVERQUOTA", why: account}},
		{imap, Answer{Code: "SERVERBUG x"}, passwordOfAccount, verdict{code: "SERVERBUG", why: account}},
		{imap, Answer{Code: "REFERRAL imap://ann@elsewhere/"}, passwordOfAccount,
			verdict{code: "CONTACTADMIN", why: account}},
		{imap, Answer{Code: "X-UNHEARD-OF"}, passwordOfAccount, verdict{code: "CONTACTADMIN", why: account}},
		{imap, Answer{Code: "ALERT"}, passwordOfAccount, verdict{code: "UNAVAILABLE", alert: true, why: alert}},
		{imap, Answer{Code: "ALERT"}, passwordOfMaster, verdict{code: "UNAVAILABLE", alert: true, why: alert}},
		{imap, Answer{}, passwordOfMaster, verdict{code: "UNAVAILABLE", level: levelErr, why: rights}},
		{imap, Answer{Code: "AUTHENTICATIONFAILED"}, passwordOfMaster,
			verdict{code: "UNAVAILABLE", level: levelErr, why: rights}},
		{imap, Answer{Code: "AUTHORIZATIONFAILED"}, passwordOfMaster,
			verdict{code: "UNAVAILABLE", level: levelErr, why: rights}},
		{imap, Answer{Code: "NOPERM"}, passwordOfMaster, verdict{code: "UNAVAILABLE", level: levelErr,
			why: rights}},

		{pop3, Answer{}, passwordOfAccount, verdict{code: "AUTH", why: refuses}},
		{pop3, Answer{Code: "auth"}, passwordOfAccount, verdict{code: "AUTH", why: refuses}},
		{pop3, Answer{Code: "AUTH/EXPIRED"}, passwordOfAccount, verdict{code: "AUTH", why: refuses}},
		{pop3, Answer{Kind: Undecided}, passwordOfAccount, verdict{code: "SYS/TEMP", next: true}},
		{pop3, Answer{Code: "SYS/TEMP"}, passwordOfAccount, verdict{code: "SYS/TEMP", next: true, why: trouble}},
		{pop3, Answer{Code: "SYS/TEMP/DISK"}, passwordOfAccount,
			verdict{code: "SYS/TEMP", next: true, why: trouble}},
		{pop3, Answer{Code: "IN-USE"}, passwordOfAccount, verdict{code: "IN-USE", why: later}},
		{pop3, Answer{Code: "LOGIN-DELAY"}, passwordOfAccount, verdict{code: "LOGIN-DELAY", why: later}},
		{pop3, Answer{Code: "SYS/PERM"}, passwordOfAccount, verdict{code: "SYS/PERM", why: account}},
		{pop3, Answer{Code: "SYS"}, passwordOfAccount, verdict{code: "SYS/PERM", why: account}},
		{pop3, Answer{Code: "/"}, passwordOfAccount, verdict{code: "SYS/PERM", why: account}},
		{pop3, Answer{Code: "X-UNHEARD-OF"}, passwordOfAccount, verdict{code: "SYS/PERM", why: account}},
		{pop3, Answer{}, passwordOfMaster, verdict{code: "SYS/TEMP", level: levelErr, why: rights}},
		{pop3, Answer{Code: "AUTH"}, passwordOfMaster, verdict{code: "SYS/TEMP", level: levelErr, why: rights}},
		{pop3, Answer{Code: "SYS/PERM"}, passwordOfMaster, verdict{code: "SYS/PERM", why: account}},

		{imap, Answer{}, passwordOfClient,
			verdict{failed: true, code: "AUTHENTICATIONFAILED", level: levelInfo, why: wrong}},
		{imap, Answer{Code: "AuthenticationFailed"}, passwordOfClient,
			verdict{failed: true, code: "AUTHENTICATIONFAILED", level: levelInfo, why: wrong}},
		{imap, Answer{Kind: Undecided}, passwordOfClient, verdict{code: "UNAVAILABLE", next: true}},
		{imap, Answer{Code: "UNAVAILABLE"}, passwordOfClient,
			verdict{code: "UNAVAILABLE", next: true, why: trouble}},
		{imap, Answer{Code: "ALERT"}, passwordOfClient, verdict{code: "UNAVAILABLE", alert: true, why: alert}},
		{imap, Answer{Code: "EXPIRED"}, passwordOfClient, verdict{code: "EXPIRED", why: account}},
		{imap, Answer{Code: "AUTHORIZATIONFAILED"}, passwordOfClient,
			verdict{code: "AUTHORIZATIONFAILED", why: account}},
		{imap, Answer{Code: "INUSE"}, passwordOfClient, verdict{code: "INUSE", why: later}},
		{pop3, Answer{}, passwordOfClient, verdict{failed: true, code: "AUTH", level: levelInfo, why: wrong}},
		{pop3, Answer{Code: "AUTH"}, passwordOfClient, verdict{failed: true, code: "AUTH", level: levelInfo,
			why: wrong}},
		{pop3, Answer{Code: "SYS/TEMP"}, passwordOfClient, verdict{code: "SYS/TEMP", next: true, why: trouble}},
		{pop3, Answer{Code: "SYS/PERM"}, passwordOfClient, verdict{code: "SYS/PERM", why: account}},
		{pop3, Answer{Code: "IN-USE"}, passwordOfClient, verdict{code: "IN-USE", why: later}},
	} {
		if got := c.codes.judge(c.answer, c.by); got != c.want {
			t.Errorf("%+v, by %v:\ngot  %+v\nwant %+v", c.answer, c.by, got, c.want)
		}
	}
}
