package verify

import (
	"bufio"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"mailproxy/internal/throttle"
	"mailproxy/tests/harness"
)

// outcome is what becomes of a login.
type outcome int

const (
	temporary outcome = iota // nobody knows: a temporary failure
	failed                   // a failed login like any other
	told                     // refused for the mailhost's reason, which is no failed login
	in                       // the mailhost has said yes
)

// answers are what a mailhost that verifies passwords may say to a wrong one. What is not to be sent is not
// in its script. LOGIN stands for a greeting and the command of IMAP, USER for a greeting and POP3's first
// command, PASS for these, a yes, and the second.
var answers = []struct {
	name, protocol string
	script         string
	want           outcome
	code           string // that the client reads; "" = the outcome's
}{
	{"AUTHENTICATIONFAILED", "IMAP", "LOGIN\nS: a NO [AUTHENTICATIONFAILED] no", failed, ""},
	{"[AUTH] in IMAP", "IMAP", "LOGIN\nS: a NO [AUTH] no", failed, ""},
	{"no code", "IMAP", "LOGIN\nS: a NO no", failed, ""},
	{"no text", "IMAP", "LOGIN\nS: a NO", failed, ""},
	{"UNAVAILABLE", "IMAP", "LOGIN\nS: a NO [UNAVAILABLE] later", temporary, ""},
	{"ALERT", "IMAP", "LOGIN\nS: a NO [ALERT] closed on Sundays", temporary, ""},
	{"EXPIRED", "IMAP", "LOGIN\nS: a NO [EXPIRED] too old", told, "EXPIRED"},
	{"AUTHORIZATIONFAILED", "IMAP", "LOGIN\nS: a NO [AUTHORIZATIONFAILED] no", told, "AUTHORIZATIONFAILED"},
	{"an unknown code", "IMAP", "LOGIN\nS: a NO [REFERRAL imap://x/] there", told, "CONTACTADMIN"},
	{"BAD", "IMAP", "LOGIN\nS: a BAD what?", temporary, ""},
	{"BYE in its place", "IMAP", "LOGIN\nS: * BYE overloaded\nS-", temporary, ""},
	{"BYE and NO", "IMAP", "LOGIN\nS: * BYE too many failures\nS: a NO no\nS-", failed, ""},
	{"OK with another tag", "IMAP", "LOGIN\nS: b OK in\nS: A OK in\nS: aa OK in\nS-", temporary, ""},
	{"OK with another tag, NO with ours", "IMAP", "LOGIN\nS: b OK in\nS: a NO no", failed, ""},
	{"untagged OK before NO", "IMAP", "LOGIN\nS: * OK in\nS: * OK [CAPABILITY IMAP4rev1] in\nS: a NO no", failed,
		""},
	{"untagged OK alone", "IMAP", "LOGIN\nS: * OK in\nS-", temporary, ""},
	{"NO and then OK", "IMAP", "LOGIN\nS: a NO no\nS: a OK in", failed, ""},
	{"OK in a literal", "IMAP", "LOGIN\nS= \"* X {9}\\r\\na OK in\\r\\n\\r\\n\"\nS: a NO no", failed, ""},
	{"almost OK", "IMAP", "LOGIN\nS: a OKAY", temporary, ""},
	{"PREAUTH in its place", "IMAP", "LOGIN\nS: a PREAUTH in", temporary, ""},
	{"a continuation in its place", "IMAP", "LOGIN\nS: + go on", temporary, ""},
	{"OK without an end", "IMAP", "LOGIN\nS= \"a OK in\"\nS-", temporary, ""},
	{"no answer", "IMAP", "LOGIN\nS-", temporary, ""},
	{"greeting PREAUTH", "IMAP", "S: * PREAUTH [CAPABILITY IMAP4rev1] welcome\nC-", temporary, ""},
	{"greeting BYE", "IMAP", "S: * BYE not now\nS-", temporary, ""},
	{"OK before the question", "IMAP", "S: * OK [CAPABILITY IMAP4rev1] hi\nS: a OK in", temporary, ""},
	{"OK in place of the continuation", "IMAP", "S: * OK [CAPABILITY IMAP4rev1 LOGINDISABLED AUTH=PLAIN] hi\n" +
		"C: a AUTHENTICATE PLAIN\nS: a OK in\nC-", temporary, ""},
	{"NO before the password", "IMAP", "S: * OK [CAPABILITY IMAP4rev1 LOGINDISABLED AUTH=PLAIN] hi\n" +
		"C: a AUTHENTICATE PLAIN\nS: a NO no\nC-", temporary, ""},
	{"OK in pieces", "IMAP", "LOGIN\nS= \"a\"\nS!\nS= \" O\"\nS!\nS= \"K i\"\nS!\nS= \"n\\r\"\nS!\nS= \"\\n\"",
		in, ""},
	{"NO in pieces", "IMAP", "LOGIN\nS= \"a N\"\nS!\nS= \"O\\r\"\nS!\nS= \"\\n\"", failed, ""},

	{"[AUTH]", "POP3", "PASS\nS: -ERR [AUTH] no", failed, ""},
	{"no code", "POP3", "PASS\nS: -ERR no", failed, ""},
	{"no text", "POP3", "PASS\nS: -ERR", failed, ""},
	{"[AUTH] to the name", "POP3", "USER\nS: -ERR [AUTH] no\nC: CAPA\nS: -ERR\nC-", failed, ""},
	{"no code to the name", "POP3", "USER\nS: -ERR no\nC: CAPA\nS: +OK\nS: USER\nS: .\nC-", failed, ""},
	{"[SYS/TEMP]", "POP3", "PASS\nS: -ERR [SYS/TEMP/DISK] later", temporary, ""},
	{"[SYS/TEMP] to the name", "POP3", "USER\nS: -ERR [SYS/TEMP] later\nC-", temporary, ""},
	{"[IN-USE]", "POP3", "PASS\nS: -ERR [IN-USE] locked", told, "IN-USE"},
	{"[SYS/PERM]", "POP3", "PASS\nS: -ERR [SYS/PERM] gone", told, "SYS/PERM"},
	{"-ERR and then +OK", "POP3", "PASS\nS: -ERR no\nS: +OK in", failed, ""},
	{"+OK and then -ERR", "POP3", "PASS\nS: +OK in\nS: -ERR no", temporary, ""},
	{"+OK twice to the name", "POP3", "USER\nS: +OK\nS: +OK in", temporary, ""},
	{"+OK twice as greeting", "POP3", "S: +OK hi\nS: +OK", temporary, ""},
	{"almost OK", "POP3", "PASS\nS: +OKAY", temporary, ""},
	{"a continuation in its place", "POP3", "PASS\nS: + OK", temporary, ""},
	{"IMAP's OK", "POP3", "PASS\nS: * OK in", temporary, ""},
	{"+OK without an end", "POP3", "PASS\nS= \"+OK\"\nS-", temporary, ""},
	{"no answer", "POP3", "PASS\nS-", temporary, ""},
	{"greeting -ERR", "POP3", "S: -ERR [AUTH] go away\nC-", temporary, ""},
	{"+OK in pieces", "POP3", "PASS\nS= \"+\"\nS!\nS= \"O\"\nS!\nS= \"K i\"\nS!\nS= \"n\\r\"\nS!\nS= \"\\n\"",
		in, ""},
}

// Whatever a mailhost says, a wrong password gets in only with its yes; its no is a failed login, and all
// else is none.
func TestAnswers(t *testing.T) {
	var accounts []harness.Account
	for i := range answers {
		accounts = append(accounts, harness.Account{
			Name: fmt.Sprintf("ann%d", i), Password: "stored", Options: "mailhost=" + answersHost(i)})
	}
	harness.Userdb(t, accounts...)
	harness.CourierAuthdaemond(t, "authuserdb", nil)
	var hosts []*harness.FakeMailhost
	for i, a := range answers {
		user := accounts[i].Name
		port, start, name := ":143", "S: * OK [CAPABILITY IMAP4rev1] hi", "C: a LOGIN \""+user+"\" \"wrong\""
		if a.protocol == "POP3" {
			port, start, name = ":110", "S: +OK hi", "C: USER "+user
		}
		script := a.script
		for word, commands := range map[string]string{
			"LOGIN\n": name, "USER\n": name, "PASS\n": name + "\nS: +OK\nC: PASS wrong"} {
			if rest, ok := strings.CutPrefix(script, word); ok {
				script = start + "\n" + commands + "\n" + rest
				break
			}
		}
		if a.want == in {
			script += "\nC: ping\nS: pong"
		}
		hosts = append(hosts, harness.NewFakeMailhost(t, answersHost(i)+port, harness.Scripted(t, 0, script)))
	}
	harness.EachFrontEnd(t, func(t *testing.T, m *harness.Mode) {
		table := filepath.Join(harness.Dir(t), "throttle")
		if m.Launched() {
			counted(t, table, proxy) // makes it, so that the processes need not all do so at once
		}
		p := m.Start(t, harness.ProxyOptions{Addr: proxy, Env: harness.Env{
			"PROXY_VERIFY": "MAILHOST", "LOGIN_FAIL_DELAY": "1", "THROTTLE_FILE": table}})
		var clients sync.WaitGroup
		for i, a := range answers {
			clients.Go(func() {
				guess(t, p, i, a.protocol, a.name, a.want, a.code)
			})
		}
		clients.Wait()
		for i, a := range answers {
			what, user := a.protocol+", "+a.name, accounts[i].Name
			log, n := p.Log(a.protocol), map[outcome]int{failed: 2}[a.want]
			log.WaitN(t, n, fmt.Sprintf(reported, user))
			if a.want != failed && a.want != in {
				log.WaitN(t, 2, "WARN: .* address="+answersHost(i)+":.*user="+user+":")
			}
			if lines := log.Find("user=" + user + ".*wrong"); len(lines) > 0 {
				t.Errorf("%s: the password is in the log: %q", what, lines)
			}
			if !m.Launched() {
				continue // it counts in memory
			}
			if n := counted(t, table, answersClient(i)); (n > 0) != (a.want == failed) {
				t.Errorf("%s: the throttle has counted %d logins", what, n)
			}
		}
	})
	for i, h := range hosts {
		if errs := h.Errors(); len(errs) > 0 {
			t.Errorf("%s, %s: %v", answers[i].protocol, answers[i].name, errs)
		}
	}
}

// answersHost and answersClient are the addresses of a mailhost and of who asks for it.
func answersHost(i int) string   { return fmt.Sprintf("127.0.31.%d", i+1) }
func answersClient(i int) string { return fmt.Sprintf("127.0.32.%d", i+1) }

// guess logs in twice with a wrong password, over one connection. A failed login makes the answer to the next
// one late.
func guess(t *testing.T, p *harness.Proxy, i int, protocol, name string, want outcome, code string) {
	what := protocol + ", " + name
	from := &net.TCPAddr{IP: net.ParseIP(answersClient(i))}
	conn, err := (&net.Dialer{LocalAddr: from, Timeout: harness.Patience}).Dial("tcp", p.At(protocol))
	if err != nil {
		t.Errorf("%s: %v", what, err)
		return
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(4 * harness.Patience)) // there are many at once
	r := bufio.NewReader(conn)
	user := fmt.Sprintf("ann%d", i)
	commands, begins := []string{"a LOGIN " + user + " wrong"}, []string{"a OK ", "a NO "}
	codes := map[outcome]string{failed: "AUTHENTICATIONFAILED", temporary: "UNAVAILABLE", told: code}
	if protocol == "POP3" {
		commands, begins = []string{"USER " + user, "PASS wrong"}, []string{"+OK", "-ERR "}
		codes = map[outcome]string{failed: "AUTH", temporary: "SYS/TEMP", told: code}
	}
	_, err = r.ReadString('\n')
	for n := 1; n <= 2 && err == nil; n++ {
		began, answer := time.Now(), ""
		for _, command := range commands {
			if _, err = conn.Write([]byte(command + "\r\n")); err != nil {
				break
			}
			for answer, err = r.ReadString('\n'); err == nil && strings.HasPrefix(answer, "* "); {
				answer, err = r.ReadString('\n')
			}
		}
		begin := begins[1] + "[" + codes[want] + "]"
		if want == in {
			begin = begins[0]
		}
		if err == nil && !strings.HasPrefix(answer, begin) {
			t.Errorf("%s: answered %q, want %s", what, answer, begin)
			return
		}
		if least := time.Duration(n) * time.Second; want == failed && time.Since(began) < least {
			t.Errorf("%s: failed login %d is answered after %v, want %v", what, n, time.Since(began), least)
		}
		if want == in {
			_, err = conn.Write([]byte("ping\r\n"))
			if answer, _ = r.ReadString('\n'); err != nil || answer != "pong\r\n" {
				t.Errorf("%s: the session says %q, %v", what, answer, err)
			}
			return
		}
	}
	if err != nil {
		t.Errorf("%s: %v", what, err)
	}
}

// counted is how many failed logins of a client the throttle's file knows.
func counted(t *testing.T, table, client string) int {
	t.Helper()
	memory, err := throttle.Open(table)
	if err != nil {
		t.Fatal(err)
	}
	defer memory.Close()
	n, err := memory.Failed(netip.MustParseAddr(client), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return n - 1 // this is one
}
