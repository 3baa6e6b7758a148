package tls

import (
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"mailproxy/tests/clients"
)

// Every client reads the local and the proxied account by every way of encryption, from our TLS and from couriertls.
func TestClients(t *testing.T) { ways(t, testClients) }

func testClients(t *testing.T, p *pki) {
	hosts(t)
	startAccounts(t, p, dovecotAddr)
	own := startFront(t, p, "127.0.1.1", p.env(nil), false)
	courier := startFront(t, p, "127.0.1.2", p.env(nil), true)
	for _, f := range []*front{own, courier} {
		for _, way := range []clients.TLS{clients.StartTLS, clients.FromStart} {
			if f == courier && way == clients.StartTLS {
				continue // the same as with f == own
			}
			if f == courier && p.relayd != nil {
				continue // TLS is not relayd's business there
			}
			for _, a := range accounts {
				for _, c := range clients.All() {
					t.Run(fmt.Sprintf("%s/%s/%s/%s", f.addr, way, a.name, c.Name), func(t *testing.T) {
						s := clients.Server{IMAP: names[f.addr] + ":143", POP3: names[f.addr] + ":110", User: a.name, Password: a.password, TLS: way, Trust: p.trust}
						if way == clients.FromStart {
							s.IMAP, s.POP3 = names[f.addr]+":993", names[f.addr]+":995"
						}
						got, err := c.Subjects(t, s)
						if err != nil {
							t.Fatal(err)
						}
						if !slices.Equal(got, a.subjects) {
							t.Errorf("got %q, want %q", got, a.subjects)
						}
					})
				}
			}
		}
	}
}

// openssl talks through s_client, all commands at once, and returns everything it shows. With -ign_eof it stays until the
// server ends the session.
func openssl(t testing.TB, args []string, commands ...string) string {
	t.Helper()
	cmd := exec.Command("/usr/bin/timeout", append([]string{"-k", "1", "20", "openssl", "s_client"}, args...)...)
	cmd.Stdin = strings.NewReader(strings.Join(commands, "\n") + "\n")
	out, _ := cmd.CombinedOutput() // a failed verification is also seen in the text
	return string(out)
}

// s_client with TLS 1.2 and 1.3, both protocols, both ways; the session is used, the certificate verified.
func TestOpenSSL(t *testing.T) { ways(t, testOpenSSL) }

func testOpenSSL(t *testing.T, p *pki) {
	startAccounts(t, p, dovecotAddr)
	f := startFront(t, p, "127.0.1.1", p.env(nil), false)
	imap := []string{"a LOGIN there pw+there", "b SELECT INBOX", "c LOGOUT"}
	pop3 := []string{"USER here", "PASS pw here", "STAT", "QUIT"}
	for _, version := range []string{"-tls1_2", "-tls1_3"} {
		for _, c := range []struct {
			args     string
			commands []string
			want     string
		}{
			{"-starttls imap -connect " + f.addr + ":143", imap, "* 1 EXISTS"},
			{"-connect " + f.addr + ":993", imap, "* 1 EXISTS"},
			{"-starttls pop3 -connect " + f.addr + ":110", pop3, "+OK 2 "},
			{"-connect " + f.addr + ":995", pop3, "+OK 2 "},
		} {
			t.Run(version+" "+c.args, func(t *testing.T) {
				t.Parallel()
				args := append(strings.Fields(c.args), version, "-crlf", "-ign_eof", "-CAfile", p.trust, "-verify_ip", f.addr, "-verify_return_error")
				out := openssl(t, args, c.commands...)
				for _, want := range []string{"Verify return code: 0 (ok)", strings.Replace(version[1:], "tls1_", "TLSv1.", 1), c.want} {
					if !strings.Contains(out, want) {
						t.Errorf("no %q in:\n%s", want, out)
					}
				}
			})
		}
	}
}
