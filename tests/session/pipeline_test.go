package session

import (
	"fmt"
	"strings"
	"testing"

	"mailproxy/tests/harness"
)

// pipelinedIMAP is a login and the next ten commands in one packet; {USER} and {PASS} are IMAP strings.
const pipelinedIMAP = `
	C: a0 LOGIN {USER} {PASS}
	C: a1 NOOP
	C: a2 CAPABILITY
	C: a3 NAMESPACE
	C: a4 LIST "" INBOX
	C: a5 LSUB "" *
	C: a6 STATUS INBOX (MESSAGES)
	C: a7 NOOP
	C: a8 SELECT INBOX
	C: a9 FETCH 1 (BODY.PEEK[HEADER.FIELDS (SUBJECT)])
	C: a10 LOGOUT
	S* a0 OK .*
	S* a1 OK .*
	S* a2 OK .*
	S* a3 OK .*
	S* a4 OK .*
	S* a5 OK .*
	S* \* STATUS "?INBOX"? \(MESSAGES {COUNT}\)
	S* a6 OK .*
	S* a7 OK .*
	S* a8 OK .*
	S* Subject: {SUBJECT}
	S* a9 OK .*
	S* a10 OK .*
	S-
`

const pipelinedPOP3 = `
	C: USER {USER}
	C: PASS {PASS}
	C: STAT
	C: NOOP
	C: LIST 1
	C: UIDL 1
	C: TOP 1 0
	C: NOOP
	C: RSET
	C: STAT
	C: NOOP
	C: QUIT
	S~ \+OK.*
	S~ \+OK.*
	S~ \+OK {COUNT} .*
	S~ \+OK.*
	S~ \+OK 1 .*
	S~ \+OK 1 .*
	S~ \+OK.*
	S* Subject: {SUBJECT}
	S* \.
	S~ \+OK.*
	S~ \+OK.*
	S~ \+OK {COUNT} .*
	S~ \+OK.*
	S~ \+OK.*
	S-
`

func fill(text string, box harness.Mailbox) string {
	password := box.Password
	if strings.Contains(text, " LOGIN ") {
		password = harness.Quoted(password)
	}
	return strings.NewReplacer("{USER}", box.Name, "{PASS}", password, "{SUBJECT}", box.Subjects[0],
		"{COUNT}", fmt.Sprint(len(box.Subjects))).Replace(text)
}

var pipelined = map[string]string{"IMAP": pipelinedIMAP, "POP3": pipelinedPOP3}

// What a client sends in one packet with its login reaches the account's server in order, wherever that is:
// after the greeting, and by a client that does not even wait for the greeting.
func TestPipelining(t *testing.T) {
	each(t, func(t *testing.T, p *harness.Proxy) {
		for _, box := range harness.Mailboxes {
			for _, waits := range []bool{true, false} {
				for port, text := range pipelined {
					greeting := `S~ (\* OK|\+OK) .*`
					script := greeting + "\n" + fill(text, box)
					if !waits {
						said, answers, _ := strings.Cut(fill(text, box), "\n\tS")
						script = said + "\n" + greeting + "\n\tS" + answers
					}
					harness.Dialogue(t, p.At(port), script)
				}
			}
		}
	})
}

// A client that sends one byte a packet is served like any other.
func TestOneByteAtATime(t *testing.T) {
	each(t, func(t *testing.T, p *harness.Proxy) {
		for _, box := range harness.Mailboxes {
			for port, text := range pipelined {
				r := harness.Dial(t, p.At(port))
				r.Dribble = 1
				r.MustPlay(t, `S~ (\* OK|\+OK) .*`+"\n"+fill(text, box))
			}
		}
	})
}
