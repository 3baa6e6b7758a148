package login

import (
	"slices"
	"strings"
)

// Kind is what sort of answer a mailhost gave to a login command: LOGIN, AUTHENTICATE, USER, PASS, AUTH.
type Kind int

// The kinds.
const (
	// No is a well-formed refusal: NO, -ERR.
	No Kind = iota
	// Undecided is everything else that is not a yes: BAD, BYE, an answer that means nothing, a closed
	// connection. What fails before the login command (no address, no connection, no greeting, no TLS) is of
	// this kind, too.
	Undecided
)

// Answer is a mailhost's answer to a login command.
type Answer struct {
	Kind Kind
	// Code is the response code without its brackets, in any case and with its arguments; empty = the answer
	// had none.
	Code string
	// Text is the whole answer for the log, and Human the words after the code for the client; no password
	// is in them.
	Text, Human string
	// Challenge is what came before it, see DeniedError.
	Challenge string
}

// logLevel is how loud the log line is.
type logLevel int

// The levels.
const (
	levelWarn logLevel = iota
	levelErr
	levelInfo
)

// passwordOwner is whose password an account is logged in with at its mailhost.
type passwordOwner int

// The owners.
const (
	// passwordOfAccount: the account's own, which the account database has verified.
	passwordOfAccount passwordOwner = iota
	// passwordOfMaster: that of PROXY_MASTER_USER, on behalf of the account.
	passwordOfMaster
	// passwordOfClient: what the client has sent, which nobody but the mailhost verifies
	// (PROXY_VERIFY=MAILHOST).
	passwordOfClient
)

// verdict is what follows from an answer.
type verdict struct {
	// failed says that the mailhost has found the client's password wrong: a failed login like any other. Where
	// the password was verified before, no verdict is one: none feeds the throttle or is a LOGIN FAILED line.
	failed bool
	// code is the response code that the client is told.
	code string
	// alert says that the client is shown the mailhost's words as well, as an alert.
	alert bool
	// next says that another mailhost of the account is worth a try.
	next  bool
	level logLevel
	// why is the log's explanation.
	why string
}

// Codes are the response codes that a protocol has for the outcomes of a login.
type Codes struct {
	// Wrong: name or password are wrong. Unavailable: try again later. Broken: nothing helps but the
	// administrator.
	Wrong, Unavailable, Broken string
	// Private: the login must be made under TLS; empty = the protocol has no code for it.
	Private string
	// InUse: the mailbox is in use, and will not be soon.
	InUse string
	// Expired: the password, or the account, has expired.
	Expired string
	// TooLong: the name or the password is longer than this program takes.
	TooLong string
	// known are those that a client may be told in a mailhost's name.
	known []string
	// hierarchical codes mean at least what they begin with (RFC 2449 section 8).
	hierarchical bool
}

// IMAP returns the codes of RFC 5530.
func IMAP() Codes {
	return Codes{
		Wrong: "AUTHENTICATIONFAILED", Unavailable: "UNAVAILABLE", Broken: "CONTACTADMIN",
		Private: "PRIVACYREQUIRED", InUse: "INUSE", Expired: "EXPIRED", TooLong: "LIMIT",
		known: []string{
			"UNAVAILABLE", "AUTHENTICATIONFAILED", "AUTHORIZATIONFAILED", "EXPIRED", "PRIVACYREQUIRED",
			"CONTACTADMIN", "NOPERM", "INUSE", "EXPUNGEISSUED", "CORRUPTION", "SERVERBUG", "CLIENTBUG", "CANNOT",
			"LIMIT", "OVERQUOTA", "ALREADYEXISTS", "NONEXISTENT",
		},
	}
}

// POP3 returns the codes of RFC 2449 section 8 and RFC 3206.
func POP3() Codes {
	return Codes{
		Wrong: "AUTH", Unavailable: "SYS/TEMP", Broken: "SYS/PERM", Expired: "AUTH", TooLong: "SYS/PERM",
		InUse:        "IN-USE",
		hierarchical: true,
		known:        []string{"AUTH", "SYS/TEMP", "SYS/PERM", "IN-USE", "LOGIN-DELAY"},
	}
}

// replyCode is which code the client reads.
type replyCode int

const (
	codeUnavailable replyCode = iota
	codeWrong
	codeOfMailhost // the mailhost's, where the protocol has it, else broken
)

// rule is a line of the table.
type rule struct {
	kind   Kind
	codes  []string        // of either protocol, "" = an answer without a code; nil = any
	owners []passwordOwner // nil = any
	reply  replyCode
	then   verdict // all but the code
}

// table is in order: the first rule that fits counts.
func table() []rule {
	byMaster, byClient := []passwordOwner{passwordOfMaster}, []passwordOwner{passwordOfClient}
	return []rule{
		{Undecided, nil, nil, codeUnavailable, verdict{next: true}},
		{No, []string{"UNAVAILABLE", "SYS/TEMP"}, nil, codeUnavailable,
			verdict{next: true, why: "the mailhost has trouble of its own"}},
		{No, []string{"ALERT"}, nil, codeUnavailable,
			verdict{alert: true, why: "the mailhost refuses with a message for the user"}},
		{No, []string{"AUTHENTICATIONFAILED", "AUTHORIZATIONFAILED", "NOPERM", "AUTH", ""}, byMaster,
			codeUnavailable, verdict{
				level: levelErr,
				why:   "the mailhost refuses PROXY_MASTER_USER: its password, or its right to act for others",
			}},
		{No, []string{"AUTHENTICATIONFAILED", "AUTH", ""}, byClient, codeWrong,
			verdict{failed: true, level: levelInfo, why: "the mailhost refuses the password"}},
		{No, []string{"AUTHENTICATIONFAILED", "AUTH", ""}, nil, codeWrong,
			verdict{why: "the mailhost refuses a password that the account database has verified"}},
		{No, []string{"INUSE", "LIMIT", "IN-USE", "LOGIN-DELAY"}, nil, codeOfMailhost,
			verdict{why: "the mailhost takes no further login now"}},
		{No, nil, nil, codeOfMailhost, verdict{why: "the mailhost does not serve the account"}},
	}
}

// judge looks an answer up. owner says whose password the login was made with.
func (c Codes) judge(a Answer, owner passwordOwner) verdict {
	code := c.normal(a.Code)
	for _, r := range table() {
		if r.kind != a.Kind || r.owners != nil && !slices.Contains(r.owners, owner) ||
			r.codes != nil && !slices.Contains(r.codes, code) {
			continue
		}
		v := r.then
		switch {
		case r.reply == codeUnavailable:
			v.code = c.Unavailable
		case r.reply == codeWrong:
			v.code = c.Wrong
		case slices.Contains(c.known, code):
			v.code = code
		default:
			v.code = c.Broken
		}
		return v
	}
	return verdict{code: c.Unavailable} // not reached: the last rules take every code
}

// normal returns a response code in upper case and without its arguments. Of a hierarchical code
// (SYS/TEMP/DISK) it is the part that everybody knows.
func (c Codes) normal(code string) string {
	code, _, _ = strings.Cut(strings.ToUpper(code), " ")
	if !c.hierarchical {
		return code
	}
	for part := code; part != ""; {
		if slices.Contains(c.known, part) {
			return part
		}
		i := strings.LastIndexByte(part, '/')
		part = part[:max(i, 0)]
	}
	return code
}
