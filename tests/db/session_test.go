package db

import (
	"bufio"
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"hash"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mailproxy/tests/harness"
)

// Where the mailhosts of TestSessions are, and how many messages each account has there.
const (
	dovecotHost = "127.0.10.20"
	courierHost = "127.0.10.21"
)

var sessionUsers = []account{
	{
		login: "dove@example.com", clear: "do ve's pw", mailhost: dovecotHost, uid: 4000, gid: 4000,
		home: "/nonexistent", quota: "1",
	},
	{
		login: "cour@example.com", clear: `co"ur\ pw`, mailhost: courierHost, uid: 4000, gid: 4000,
		home: "/nonexistent", quota: "2",
	},
}

// TestSessions reads mail over each protocol, logged in by each mechanism, from accounts in each database, on
// a real Dovecot and on a real Courier: CRAM too is proxied, with the clear password that the database holds.
func TestSessions(t *testing.T) {
	var boxes []harness.Account
	for i, a := range sessionUsers {
		var messages []string
		for n := range i + 1 {
			messages = append(messages, harness.Message(fmt.Sprint(n)))
		}
		boxes = append(boxes,
			harness.Account{Name: a.login, Password: a.clear, Home: harness.NewHome(t, messages...)})
	}
	harness.Userdb(t, boxes[1])
	harness.CourierAuthdaemond(t, "authuserdb", nil)
	harness.CourierMailhost(t, courierHost)
	harness.Dovecot(t, harness.DovecotOptions{Addr: dovecotHost, Accounts: boxes[:1]})

	pg, my := harness.Postgres(t, "127.0.10.1"), harness.MariaDB(t, "127.0.10.2")
	pg.SQL(t, sqlTable(sessionUsers, false))
	my.SQL(t, sqlTable(sessionUsers, true))
	dir := directory(t, "127.0.10.3", sessionUsers, harness.LDAPOptions{})
	for i, d := range []database{{"authpgsql", pg, pgsqlSettings(pg), nil},
		{"authmysql", my, mysqlSettings(my), nil}, {"authldap", dir, ldapSettings(dir), nil}} {
		_, _, directory := d.start(t, d.base)
		addr := fmt.Sprintf("127.0.10.%d", 31+i)
		env := harness.Env{
			"AUTHDAEMON_SOCKET": filepath.Join(directory, "socket"),
			"IMAP_CAPABILITY":   "IMAP4rev1 AUTH=PLAIN AUTH=CRAM-MD5 AUTH=CRAM-SHA256",
			"POP3AUTH":          "PLAIN CRAM-MD5 CRAM-SHA256",
		}
		harness.EachFrontEnd(t, func(t *testing.T, m *harness.Mode) {
			m.Start(t, harness.ProxyOptions{Addr: addr, Env: env})
			for n, a := range sessionUsers {
				for _, mechanism := range []string{"LOGIN", "PLAIN", "CRAM-MD5", "CRAM-SHA256"} {
					t.Run(d.module+"/"+mechanism+"/"+a.login, func(t *testing.T) {
						imapSession(t, addr, mechanism, a, n+1)
						pop3Session(t, addr, mechanism, a, n+1)
					})
				}
			}
		})
	}
}

// lines talks to a server line by line.
type lines struct {
	t testing.TB
	c net.Conn
	r *bufio.Reader
}

func dialLines(t testing.TB, addr string) *lines {
	t.Helper()
	c := harness.Connect(t, addr)
	if err := c.SetDeadline(time.Now().Add(2 * harness.Patience)); err != nil {
		t.Fatal(err)
	}
	return &lines{t, c, bufio.NewReader(c)}
}

// say sends a line; expect reads lines until one begins with a prefix, and returns the rest of it.
func (l *lines) say(format string, args ...any) {
	l.t.Helper()
	if _, err := fmt.Fprintf(l.c, format+"\r\n", args...); err != nil {
		l.t.Fatal(err)
	}
}

func (l *lines) expect(prefix string) string {
	l.t.Helper()
	seen := ""
	for {
		line, err := l.r.ReadString('\n')
		if seen += line; err != nil {
			l.t.Fatalf("no %q: %v after %q", prefix, err, seen)
		}
		if rest, ok := strings.CutPrefix(line, prefix); ok {
			return strings.TrimRight(rest, "\r\n")
		}
		if strings.HasPrefix(line, "a ") || strings.HasPrefix(line, "-ERR") {
			l.t.Fatalf("no %q: %q", prefix, seen)
		}
	}
}

// cram answers a challenge in base64.
func cram(t testing.TB, mechanism, challenge string, a account) string {
	t.Helper()
	text, err := base64.StdEncoding.DecodeString(challenge)
	if err != nil {
		t.Fatal(err)
	}
	sum := map[string]func() hash.Hash{"CRAM-MD5": md5.New, "CRAM-SHA256": sha256.New}[mechanism]
	mac := hmac.New(sum, []byte(a.clear))
	mac.Write(text)
	return base64.StdEncoding.EncodeToString([]byte(a.login + " " + hex.EncodeToString(mac.Sum(nil))))
}

func plain(a account) string {
	return base64.StdEncoding.EncodeToString([]byte("\x00" + a.login + "\x00" + a.clear))
}

func imapSession(t *testing.T, addr, mechanism string, a account, messages int) {
	t.Helper()
	l := dialLines(t, addr+":143")
	l.expect("* OK")
	switch mechanism {
	case "LOGIN":
		l.say(`a LOGIN "%s" "%s"`, a.login, strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(a.clear))
	case "PLAIN":
		l.say("a AUTHENTICATE PLAIN")
		l.expect("+ ")
		l.say("%s", plain(a))
	default:
		l.say("a AUTHENTICATE %s", mechanism)
		l.say("%s", cram(t, mechanism, l.expect("+ "), a))
	}
	l.expect("a OK")
	l.say("b STATUS INBOX (MESSAGES)")
	if got := l.expect("* STATUS"); !strings.Contains(got, fmt.Sprintf("(MESSAGES %d)", messages)) {
		t.Errorf("IMAP: %q, want %d messages", got, messages)
	}
	l.expect("b OK")
	l.say("c LOGOUT")
	l.expect("c OK")
}

func pop3Session(t *testing.T, addr, mechanism string, a account, messages int) {
	t.Helper()
	l := dialLines(t, addr+":110")
	l.expect("+OK")
	switch mechanism {
	case "LOGIN":
		l.say("USER %s", a.login)
		l.expect("+OK")
		l.say("PASS %s", a.clear)
	case "PLAIN":
		l.say("AUTH PLAIN %s", plain(a))
	default:
		l.say("AUTH %s", mechanism)
		l.say("%s", cram(t, mechanism, l.expect("+ "), a))
	}
	l.expect("+OK")
	l.say("STAT")
	if got := l.expect("+OK "); !strings.HasPrefix(got, fmt.Sprint(messages, " ")) {
		t.Errorf("POP3: %q, want %d messages", got, messages)
	}
	l.say("QUIT")
	l.expect("+OK")
}
