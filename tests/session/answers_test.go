package session

import (
	"fmt"
	"net"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"

	"mailproxy/tests/harness"
)

// told is a login with what the mailhost says and what the client is told. USER is the account's name; its
// password is "pw". What follows the login is "ping" and "pong", where there is a session.
type told struct {
	name, protocol string
	settings       string   // key of answerSettings
	mailhost       []string // its side, on the first connection, on the second ...; nil: it is not asked
	client         string   // after the greeting
	log            string   // the one warning or error about the user, or an INFO; empty: neither
	failed         bool     // a line LOGIN FAILED, which fail2ban counts
}

// answerSettings are those of the proxies, over harness.ProxyOptions.Env.
var answerSettings = map[string]harness.Env{
	"":          {},
	"FOREIGN=1": {"IMAP_PROXY_FOREIGN": "1"},
	"FOREIGN=2": {"IMAP_PROXY_FOREIGN": "2"},
	"ID":        {"PROXY_FORWARD_CLIENT": "ID", "IMAP_ID_FIELDS": ""},
	"long ID":   {"IMAP_ID_FIELDS": ""},
	"UTF8":      {"POP3_UTF8": "YES"},
	"master":    {"PROXY_MASTER_USER": "master"},
}

const (
	imapGreets = "S: * OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR] hello\n"
	imapLogin  = imapGreets + "C: a LOGIN \"USER\" \"pw\"\n"
	pop3User   = "S: +OK hello\nC: USER USER\n"
	pop3Pass   = pop3User + "S: +OK\nC: PASS pw\n"
	imapMaster = imapGreets + "C~ a AUTHENTICATE PLAIN .*\n"
	pop3Master = "S: +OK hello\nC: CAPA\nS: +OK\nS: SASL PLAIN\nS: .\nC~ AUTH PLAIN .*\n"

	imapSays = "C: a LOGIN USER pw\n"
	pop3Says = "C: USER USER\nS~ \\+OK .*\nC: PASS pw\n"
	imapOut  = "\nC: z LOGOUT\nS* z OK .*\nS-"
	pop3Out  = "\nC: QUIT\nS~ \\+OK .*\nS-"
	imapBusy = "S: a NO [UNAVAILABLE] Temporary problem, please try again later"
	pop3Busy = "S: -ERR [SYS/TEMP] Temporary problem, please try again later"
	imapIn   = "S: a OK connected to proxy server.\n" + ping
	pop3In   = "S: +OK Connected to proxy server.\n" + ping
	ping     = "C: ping\nS: pong\nS-"
	pong     = "\nC: ping\nS: pong"
)

// refusal is a mailhost's answer to the password in each protocol, with what the client is told. An empty
// answer: the protocol has no such thing.
type refusal struct{ imap, told, pop3, told3, log string }

var refusals = []refusal{
	{"a NO sorry", "a NO [AUTHENTICATIONFAILED] Login failed.", "-ERR mailbox is locked",
		"-ERR [AUTH] Login failed.",
		"WARN: .* refuses a password that the account database has verified"},
	{"a NO [AUTHENTICATIONFAILED] x", "a NO [AUTHENTICATIONFAILED] Login failed.", "-ERR [AUTH] x",
		"-ERR [AUTH] Login failed.", "WARN: .* refuses a password that the account database has verified"},
	{"a BAD what?", imapBusy[3:], "what?", pop3Busy[3:], "WARN: .*what\\?"},
	{"* BYE overloaded", imapBusy[3:], "", "", "WARN: .*overloaded"},
	{"a NO [UNAVAILABLE] disk", imapBusy[3:], "-ERR [SYS/TEMP] disk", pop3Busy[3:], "WARN: .*disk"},
	{"a NO [INUSE] x", "a NO [INUSE] Mailbox is in use, please try again later", "-ERR [IN-USE] x",
		"-ERR [IN-USE] Mailbox is in use, please try again later", "WARN: "},
	{"a NO [LIMIT] x", "a NO [LIMIT] A limit does not allow this login, please try again later",
		"-ERR [LOGIN-DELAY] x", "-ERR [LOGIN-DELAY] Too many logins, please try again later", "WARN: "},
	{"a NO [EXPIRED] x", "a NO [EXPIRED] The password has expired", "", "", "WARN: "},
	{"a NO [OVERQUOTA] x", "a NO [OVERQUOTA] The mailbox is full", "", "", "WARN: "},
	{"a NO [PRIVACYREQUIRED] x", "a NO [PRIVACYREQUIRED] STARTTLS required", "", "", "WARN: "},
	{"a NO [REFERRAL imap://ann@other/] x",
		"a NO [CONTACTADMIN] The mailbox cannot be opened, please call the postmaster", "-ERR [SYS/PERM] x",
		"-ERR [SYS/PERM] Mail server cannot open the mailbox, please call the postmaster", "WARN: "},
	{"a NO [ALERT] too many connections", "* NO [ALERT] too many connections\nS: " + imapBusy[3:], "", "",
		"WARN: .*too many connections"},
}

// refused makes cases of the table.
func refused() (cases []told) {
	for _, r := range refusals {
		cases = append(cases, told{name: r.imap, protocol: "IMAP", mailhost: []string{imapLogin + "S: " + r.imap},
			client: imapSays + "S: " + r.told + imapOut, log: r.log})
		if r.pop3 != "" {
			cases = append(cases, told{name: r.pop3, protocol: "POP3",
				mailhost: []string{pop3Pass + "S: " + r.pop3},
				client:   pop3Says + "S: " + r.told3 + pop3Out, log: r.log})
		}
	}
	return cases
}

// answers are the other cases.
var answers = []told{
	{name: "master refused", protocol: "IMAP", settings: "master",
		mailhost: []string{imapMaster + "S: a NO [AUTHENTICATIONFAILED] x"},
		client:   imapSays + imapBusy + imapOut, log: "ERR: .*PROXY_MASTER_USER"},
	{name: "master refused", protocol: "POP3", settings: "master",
		mailhost: []string{pop3Master + "S: -ERR [AUTH] x"},
		client:   pop3Says + pop3Busy + pop3Out, log: "ERR: .*PROXY_MASTER_USER"},

	{name: "what is said along with the login", protocol: "IMAP", mailhost: []string{imapLogin + `
		S: * OK [ALERT] quota is nearly used up
		S: * CAPABILITY IMAP4rev1 X
		S: * BYE not really
		S: * 3 EXISTS
		S: a OK [ALERT] maintenance at noon` + pong},
		client: imapSays + "S: * OK [ALERT] quota is nearly used up\nS: * 3 EXISTS\n" +
			"S: * OK [ALERT] maintenance at noon\n" + imapIn},
	{name: "is dropped with the login", protocol: "IMAP",
		mailhost: []string{imapLogin + "S: * OK [ALERT] quota\nS: a NO [INUSE] x"},
		client: imapSays + "S: a NO [INUSE] Mailbox is in use, please try again later" +
			imapOut, log: "WARN: "},
	{name: "behind the OK", protocol: "IMAP",
		mailhost: []string{imapLogin + "S= \"a OK in\\r\\n* 1 EXISTS\\n* OK LONG\\r\\n\"" + pong},
		client: imapSays + "S= \"a OK connected to proxy server.\\r\\n* 1 EXISTS\\n* OK LONG\\r\\n\"\n" +
			ping},
	{name: "behind the OK", protocol: "IMAP", settings: "FOREIGN=2",
		mailhost: []string{imapLogin + `S= "a OK [CAPABILITY IMAP4rev1 X] in\r\n* 1 EXISTS\n* OK LONG\r\n"` + pong},
		client: imapSays + `
			S: a OK [CAPABILITY IMAP4rev1 X] connected to proxy server.
			S= "* 1 EXISTS\n* OK LONG\r\n"` + "\n" + ping},
	{name: "behind the OK", protocol: "IMAP", settings: "FOREIGN=1",
		mailhost: []string{imapLogin + "S: * OK [ALERT] hi\nS: a OK in\nC: a CAPABILITY\n" +
			"S= \"* 1 EXISTS\\n* CAPABILITY IMAP4rev1 X\\r\\na OK done\\r\\n* OK LONG\\r\\n\"" + pong},
		client: imapSays + `
			S: * OK [ALERT] hi
			S= "* 1 EXISTS\n"
			S: * CAPABILITY IMAP4rev1 X
			S: a OK done
			S: * OK LONG` + "\n" + ping},
	{name: "behind the OK", protocol: "POP3",
		mailhost: []string{pop3Pass + "S= \"+OK in\\r\\n+OK LONG\\r\\n\"" + pong},
		client:   pop3Says + "S= \"+OK Connected to proxy server.\\r\\n+OK LONG\\r\\n\"\n" + ping},

	{name: "the client's ID goes along", protocol: "IMAP", settings: "ID",
		mailhost: []string{imapGreets + `
			C~ I1 ID \("x-originating-ip" "127\.0\.0\.1" .* "name" "it" "os" NIL\)
			S: I1 OK
			C: a LOGIN "USER" "pw"
			S: a OK in` + pong},
		client: `
			C: i ID ("name" "it" "X-Originating-IP" "192.0.2.1" "os" NIL "NAME" "again")
			S* i OK .*` + "\n" + imapSays + imapIn},
	{name: "a mailhost hangs up on the client's ID", protocol: "IMAP", settings: "ID",
		mailhost: []string{imapGreets + "C~ I1 ID .*\"name\" \"it\"\\)",
			imapGreets + `
			C~ I1 ID \("x-originating-ip" "127\.0\.0\.1" .* "x-proxy-ttl" "4"\)
			S: I1 OK
			C: a LOGIN "USER" "pw"
			S: a OK in` + pong},
		client: "C: i ID (\"name\" \"it\")\nS* i OK .*\n" + imapSays + imapIn,
		log:    "WARN: .* hung up on the client's fields of ID"},
	{name: "a mailhost hangs up on any ID", protocol: "IMAP", settings: "ID",
		mailhost: []string{imapGreets + "C~ I1 ID .*"},
		client:   imapSays + imapBusy + imapOut, log: "WARN: .*PROXY_FORWARD_CLIENT=ID"},
	{name: "all that ID may be", protocol: "IMAP", settings: "long ID",
		mailhost: []string{imapLogin + "S: a OK in" + pong},
		client: "C: i ID (" + strings.Repeat("\"field-abcdefghijklmnopqrstuvwx\" {1024+}\nC: LONGER ", 30) + ")\n" +
			"S~ \\* ID .*\nS: i OK ID completed\n" + imapSays + imapIn},

	{name: "UTF8 is not there", protocol: "POP3", settings: "UTF8",
		mailhost: []string{`
			S: +OK hello
			C: UTF8
			S: -ERR Unknown command.
			C: USER USER
			S: +OK
			C: PASS pw
			S: +OK in` + pong},
		client: "C: UTF8\nS~ \\+OK .*\n" + pop3Says + pop3In},
	{name: "a mailhost hangs up on UTF8", protocol: "POP3", settings: "UTF8",
		mailhost: []string{"S: +OK hello\nC: UTF8", pop3Pass + "S: +OK in" + pong},
		client:   "C: UTF8\nS~ \\+OK .*\n" + pop3Says + pop3In, log: "WARN: .* hung up on UTF8"},
	{name: "what POP3 servers say", protocol: "POP3",
		mailhost: []string{`
			S= "\n\r\n+OK\tLONG\r\n"
			C: USER USER
			S: +OK, go on
			C: PASS pw
			S: +ok: in` + pong},
		client: pop3Says + pop3In},
	{name: "a colon behind -ERR", protocol: "POP3", mailhost: []string{pop3Pass + "S: -ERR: [IN-USE] x"},
		client: pop3Says + "S: -ERR [IN-USE] Mailbox is in use, please try again later" + pop3Out, log: "WARN: "},

	{name: "nobody's fault but the command's", protocol: "IMAP", client: `
		C: a AUTHENTICATE PLAIN
		S= "+ \r\n"
		C: *
		S~ a BAD .*
		C: b AUTHENTICATE PLAIN ???
		S~ b BAD .*
		C: c AUTHENTICATE NOSUCH
		S~ c NO [^[].*
		C: d LOGIN USER LONG
		S~ d NO \[LIMIT\] .*` + imapOut, log: "INFO: LOGIN REFUSED, method=LOGIN, .*too long"},
	{name: "nobody's fault but the command's", protocol: "POP3", client: `
		C: AUTH PLAIN
		S= "+ \r\n"
		C: *
		S~ -ERR [^[].*
		C: AUTH NOSUCH
		S~ -ERR [^[].*` + pop3Out},
	{name: "a session behind a wrong password", protocol: "IMAP", failed: true,
		client: "C: a LOGIN USER no\n" + strings.Repeat("C: b SELECT INBOX\n", 10) +
			"S: a NO [AUTHENTICATIONFAILED] Login failed.\n" + strings.Repeat("S~ b BAD .*\n", 10) + imapOut[1:]},
	{name: "a session behind a wrong password", protocol: "POP3", failed: true,
		client: "C: USER USER\nC: PASS no\n" + strings.Repeat("C: STAT\n", 10) +
			"S~ \\+OK .*\nS: -ERR [AUTH] Login failed.\n" + strings.Repeat("S~ -ERR .*\n", 10) + pop3Out[1:]},
}

// What mailhosts and clients say that other proxies have been reported to misunderstand: what the client is
// told, what the log says, and what of it fail2ban counts.
func TestAnswers(t *testing.T) {
	cases := append(refused(), answers...)
	var accounts []harness.Account
	for i := range cases {
		accounts = append(accounts, harness.Account{Name: fmt.Sprintf("ann%d", i), Password: "pw",
			Options: fmt.Sprintf("mailhost=127.0.33.%d", i+1)})
	}
	harness.Userdb(t, accounts...)
	harness.CourierAuthdaemond(t, "authuserdb", nil)
	secret := filepath.Join(harness.Dir(t), "master")
	harness.WriteFile(t, secret, "master pw\n", 0o600)
	harness.Readable(t, secret)
	harness.EachMode(t, func(t *testing.T, m *harness.Mode) {
		proxies := map[string]*harness.Proxy{}
		for _, c := range cases {
			key := c.protocol + " " + c.settings
			if proxies[key] == nil {
				env := answerSettings[c.settings]
				if env["PROXY_MASTER_USER"] != "" {
					env = env.With(harness.Env{"PROXY_MASTER_PASSWORD_FILE": secret})
				}
				proxies[key] = m.Start(t, harness.ProxyOptions{Protocols: []string{c.protocol}, Env: env,
					Addr: fmt.Sprintf("127.0.34.%d", len(proxies)+1)})
			}
		}
		t.Run("all", func(t *testing.T) {
			for i, c := range cases {
				t.Run(c.protocol+"/"+c.settings+"/"+c.name, func(t *testing.T) {
					t.Parallel()
					c.play(t, proxies[c.protocol+" "+c.settings], accounts[i].Name, fmt.Sprintf("127.0.33.%d", i+1))
				})
			}
		})
		for _, p := range proxies {
			p.Idle(t)
		}
	})
}

func (c told) play(t *testing.T, p *harness.Proxy, user, host string) {
	long := strings.Repeat("x", 10000)
	fill := strings.NewReplacer("C: USER USER", "C: USER "+user, "USER", user,
		"LONGER", long[:1024], "LONG", long)
	var visits atomic.Int32
	var scripts []func(net.Conn) error
	for _, s := range c.mailhost {
		scripts = append(scripts, harness.Scripted(t, 0, fill.Replace(s)))
	}
	protocol := harness.ProtocolOf(c.protocol)
	there := harness.NewFakeMailhost(t, protocol.At(host),
		func(conn net.Conn) error {
			n := int(visits.Add(1))
			return scripts[min(n, len(scripts))-1](conn)
		})
	harness.Dialogue(t, p.At(c.protocol), protocol.Greeting+fill.Replace(c.client)).Conn.Close()
	if there.Connections() < len(c.mailhost) {
		t.Errorf("%d connections to the mailhost, want %d", there.Connections(), len(c.mailhost))
	}
	log := p.Log(c.protocol)
	warnings := 0
	if c.log != "" {
		log.Wait(t, "^"+c.log)
	}
	if c.log != "" && !strings.HasPrefix(c.log, "INFO: ") {
		warnings = 1
	}
	about := log.WaitN(t, warnings, "^(WARN|ERR|CRIT): .*user="+user+"[,:]")
	if warnings == 1 && !regexp.MustCompile("^"+c.log).MatchString(about[0]) {
		t.Errorf("log %q, want %q", about[0], c.log)
	}
	if c.failed {
		log.Wait(t, "LOGIN FAILED, user="+user+",")
	}
	failed := log.Find("LOGIN FAILED, user=" + user + ",")
	if len(failed) > 0 != c.failed {
		t.Errorf("LOGIN FAILED: %q, want one: %v", failed, c.failed)
	}
}
