package pop3

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"testing"

	"mailproxy/internal/launch"
	"mailproxy/internal/mailhost"
	"mailproxy/internal/tlsconf"
	"mailproxy/tests/testcert"
	"mailproxy/tests/transcript"
)

// Where the mailhost decides, one answer too many is no login: each later one would be taken for the answer
// to another question. Otherwise what it says is not looked at before it is needed.
func TestAnswersBeforeTheQuestion(t *testing.T) {
	token := func(m *mailhost.Conn) {
		m.Mechanism, m.Token, m.Password = "XOAUTH2", "user=ann\x01auth=Bearer token\x01\x01", ""
	}
	unverified := func(m *mailhost.Conn) { m.Unverified = true }
	for _, c := range []struct {
		name   string
		change func(m *mailhost.Conn)
		server string
		step   mailhost.Step // "" = it is a login
	}{
		{"greets twice", unverified, "S: +OK\nS: +OK", mailhost.StepUser},
		{"two answers to USER", unverified, `
			S: +OK
			C: USER ann@example.com
			S: +OK
			S: +OK`, mailhost.StepPassword},
		{"two answers to PASS", unverified, `
			S: +OK
			C: USER ann@example.com
			S: +OK
			C: PASS sec ret
			S: +OK
			S: -ERR [AUTH] no`, mailhost.StepLogin},
		{"greets twice, and is shown a token", token, "S: +OK\nS: +OK", mailhost.StepLogin},
		{"two answers to AUTH", token, `
			S: +OK
			C: CAPA
			S: +OK
			S: SASL XOAUTH2
			S: .
			C: AUTH XOAUTH2 dXNlcj1hbm4BYXV0aD1CZWFyZXIgdG9rZW4BAQ==
			S: +OK
			S: -ERR`, mailhost.StepLogin},
		{"one answer to each", unverified, `
			S: +OK
			C: USER ann@example.com
			S: +OK
			C: PASS sec ret
			S: +OK`, ""},
		{"two answers where the database has verified the password", func(*mailhost.Conn) {}, `
			S: +OK
			S: +OK
			C: USER ann@example.com
			C: PASS sec ret
			S: +OK`, ""},
	} {
		for _, under := range []string{"", ", under TLS"} {
			t.Run(c.name+under, func(t *testing.T) {
				m, theirs := testMailhost(t, io.Discard)
				c.change(m)
				played := make(chan error, 1)
				runner := &transcript.Runner{Conn: theirs, As: transcript.Server}
				if under != "" {
					m.Conn, runner.Conn = overTLS(t, m.Conn, theirs)
				}
				scripts := transcript.MustParse(t, c.server)
				go func() { played <- runner.Play(scripts[0]) }()
				err := loginAtMailhost(t.Context(), m)
				checkLoginError(t, err, c.step, false, "")
				if err != nil && !strings.Contains(err.Error(), "more than it was asked") {
					t.Error(err)
				}
				m.Conn.Close()
				if err := <-played; err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// overTLS makes a handshake over a connection to a mailhost.
func overTLS(t *testing.T, ours launch.Conn, theirs net.Conn) (launch.Conn, net.Conn) {
	t.Helper()
	pair := testcert.CA(t, "Test CA").Issue(t, testcert.Spec{Name: "mail.example"})
	server := tls.Server(theirs, &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{pair.DER}, PrivateKey: pair.Key}}})
	shaken := make(chan error, 1)
	go func() { shaken <- server.Handshake() }()
	conn, err := tlsconf.Connect(t.Context(), ours, &tls.Config{InsecureSkipVerify: true})
	if err := errors.Join(err, <-shaken); err != nil {
		t.Fatal(err)
	}
	return conn, server
}
