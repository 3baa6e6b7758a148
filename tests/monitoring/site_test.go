package monitoring

import (
	"bufio"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"mailproxy/tests/harness"
	"mailproxy/tests/testcert"
)

const (
	imapAt, imapsAt, pop3At = "127.0.1.1:143", "127.0.1.1:993", "127.0.1.1:110"
	mainHost, spareHost     = "127.0.0.3", "127.0.0.4" // Dovecots
	slowHost                = "127.0.0.5"              // takes slowTime for a login
	slowTime                = 1500 * time.Millisecond

	password = "secret"
)

// world is a whole site.
type world struct {
	t             *testing.T
	database      *harness.Database
	main          *harness.DovecotServer
	authd, relayd *harness.Service
	options       string // relayd's
	pki           *harness.PKI
	imap, pop3    *frontEnd

	stop  chan struct{} // closed: the clients end
	tasks sync.WaitGroup
}

// newWorld starts everything but clients.
func newWorld(t *testing.T) *world {
	w := &world{t: t, stop: make(chan struct{}), pki: harness.NewPKI(t)}
	var starting sync.WaitGroup
	starting.Go(w.startMailhosts)
	w.startAuthdaemond()
	w.options = filepath.Join(harness.Dir(t), "relayd")
	harness.WriteFile(t, w.options, "RELAYD_OPTIONS='-maxperuser 30'\n", 0o644)
	w.relayd = harness.Relayd(t, "-options", w.options, "-metrics", "127.0.0.1:9144")
	w.certificate(60)
	w.imap = w.start(harness.IMAP, "127.0.0.1:9145", imapAt, "tls:"+imapsAt)
	w.pop3 = w.start(harness.POP3, "127.0.0.1:9146", pop3At)
	starting.Wait()
	t.Cleanup(func() { close(w.stop); w.tasks.Wait() })
	return w
}

func (w *world) startMailhosts() {
	account := func(name, password string) harness.Account {
		return harness.Account{Name: name,
			Password: password}
	}
	w.main = harness.Dovecot(w.t,
		harness.DovecotOptions{Addr: mainHost, Extra: "mail_max_userip_connections = 100",
			Accounts: []harness.Account{account("ann", password), account("bob", password), account("odd", "other")}})
	harness.Dovecot(w.t, harness.DovecotOptions{Addr: spareHost,
		Accounts: []harness.Account{account("spare", password)}})
	harness.NewFakeMailhost(w.t, slowHost+":110", slow)
}

// slow is the POP3 server of slowHost.
func slow(conn net.Conn) error {
	in := bufio.NewScanner(conn)
	for reply := "+OK"; ; reply = "+OK" {
		if _, err := io.WriteString(conn, reply+"\r\n"); err != nil || !in.Scan() {
			return nil // the proxy or its client has gone
		}
		switch command, _, _ := strings.Cut(in.Text(), " "); command {
		case "PASS":
			time.Sleep(slowTime) // its slowness, nothing is waited for
		case "QUIT":
			return nil
		case "CAPA":
			reply = "-ERR"
		}
	}
}

func (w *world) startAuthdaemond() {
	w.database = harness.Postgres(w.t, "127.0.0.9")
	w.database.SQL(w.t, `create table passwd (id varchar(99) primary key, clear varchar(99), host varchar(99));
		insert into passwd values `+fmt.Sprintf("('ann', '%[1]s', '%[2]s'), ('bob', '%[1]s', '%[2]s'), "+
		"('odd', '%[1]s', '%[2]s'), ('spare', '%[1]s', '%[3]s'), ('slow', '%[1]s', '%[4]s')",
		password, mainHost, spareHost, slowHost))
	harness.WriteFile(w.t, "/etc/courier/authpgsqlrc", `##VERSION: 1
PGSQL_CONNECTION	host=127.0.0.9 user=postgres dbname=mail password='pg\'secret'
PGSQL_USER_TABLE	passwd
PGSQL_CLEAR_PWFIELD	clear
PGSQL_UID_FIELD	4000
PGSQL_GID_FIELD	4000
PGSQL_HOME_FIELD	'/nonexistent'
PGSQL_AUXOPTIONS_FIELD	'mailhost=' || host
##NAME: MARKER:0
`, 0o600)
	w.authd = harness.Authdaemond(w.t, "authpgsql",
		harness.Env{"AUTH_METRICS": "127.0.0.1:9143", "AUTH_PERSISTENT_CONNECTIONS": "64"})
}

// certificate writes one that ends in so many days.
func (w *world) certificate(days int) string {
	return w.pki.File(w.t, "proxy.pem",
		testcert.Spec{Name: "proxy.example.com", Age: -time.Duration(days) * 24 * time.Hour})
}

// frontEnd is a resident front end with its settings in a file.
type frontEnd struct {
	*harness.Process
	settings string
}

func (w *world) start(p harness.Protocol, metrics string, at ...string) *frontEnd {
	w.t.Helper()
	f := &frontEnd{settings: filepath.Join(harness.Dir(w.t), p.Name)}
	harness.WriteFile(w.t, f.settings, fmt.Sprintf(`%s_PROXY=1
RELAY_SOCKET=%q
AUTHDAEMON_SOCKET=%q
TLS_CERTFILE=%q
IMAP_CAPABILITY="IMAP4rev1 AUTH=PLAIN"
LOGIN_FAIL_DELAY=0
MAXUNAUTH=200
MAXUNAUTHPERIP=40
`, p.Name, w.relayd.Socket, w.authd.Socket, filepath.Join(w.pki.Dir, "proxy.pem")), 0o644)
	f.Process = harness.StartResident(w.t, harness.Bin(w.t, p.Program), nil,
		[]string{"-config", f.settings, "-metrics", metrics}, at...)
	return f
}

// client logs in once and leaves the connection open; the error also is a refusal.
type client func(user, password string) (net.Conn, error)

// exchange sends lines, each after the answer to the one before, which is to begin with ok.
func exchange(conn net.Conn, err error, ok string, lines ...string) (net.Conn, error) {
	if err != nil {
		return nil, err
	}
	_ = conn.SetDeadline(time.Now().Add(harness.Patience))
	in := textproto.NewReader(bufio.NewReader(conn))
	answer, err := in.ReadLine()
	for _, line := range lines {
		if err == nil {
			_, err = io.WriteString(conn, line+"\r\n")
		}
		for untagged := true; err == nil && untagged; {
			answer, err = in.ReadLine()
			untagged = strings.HasPrefix(answer, "* ")
		}
		if err == nil && !strings.HasPrefix(answer, ok) && !strings.HasPrefix(answer, "+") {
			err = fmt.Errorf("%s", answer)
		}
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

func imap(user, password string) (net.Conn, error) {
	conn, err := net.Dial("tcp", imapAt)
	return exchange(conn, err, "a OK", "a LOGIN "+user+" "+password)
}

func imaps(user, password string) (net.Conn, error) {
	conn, err := tls.Dial("tcp", imapsAt, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		return nil, err
	}
	plain := base64.StdEncoding.EncodeToString([]byte("\x00" + user + "\x00" + password))
	return exchange(conn, nil, "a OK", "a AUTHENTICATE PLAIN", plain)
}

func pop3(user, password string) (net.Conn, error) {
	conn, err := net.Dial("tcp", pop3At)
	return exchange(conn, err, "+OK", "USER "+user, "PASS "+password)
}

// load has n clients log in and out again, with a pause, until the end of the test or of the returned
// function.
func (w *world) load(n int, pause time.Duration, login client, user, password string) (end func()) {
	over := make(chan struct{})
	for range n {
		w.tasks.Go(func() {
			for {
				if conn, err := login(user, password); err == nil {
					conn.Close()
				}
				select {
				case <-w.stop:
					return
				case <-over:
					return
				case <-time.After(pause):
				}
			}
		})
	}
	return sync.OnceFunc(func() { close(over) })
}
