package tls

import (
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"mailproxy/tests/clients"
	"mailproxy/tests/harness"
)

// Every client reads the local and the proxied account by every way of encryption, from our TLS and from
// couriertls.
func TestClients(t *testing.T) {
	ways(t, func(t *testing.T, p *pki) { testClients(t, p, startFront, clients.StartTLS, clients.FromStart) })
	t.Run("couriertls", func(t *testing.T) {
		testClients(t, newPKI(t, harness.PerConnection()), underCouriertls, clients.FromStart)
	})
}

func testClients(t *testing.T, p *pki, start starter, ways ...clients.TLS) {
	hosts(t)
	startAccounts(t, p, dovecotAddr)
	const addr = "127.0.1.1"
	start(t, p, addr, p.env(nil))
	for _, way := range ways {
		for _, a := range accounts {
			t.Run(fmt.Sprintf("%s/%s", way, a.name), func(t *testing.T) {
				t.Parallel()
				s := clients.Server{IMAP: names[addr] + ":143", POP3: names[addr] + ":110",
					User: a.name, Password: a.password, TLS: way, Trust: p.Trust}
				if way == clients.FromStart {
					s.IMAP, s.POP3 = names[addr]+":993", names[addr]+":995"
				}
				for _, c := range clients.All() {
					got, err := c.Subjects(t, s)
					if err != nil {
						t.Errorf("%s: %v", c.Name, err)
					} else if !slices.Equal(got, a.subjects) {
						t.Errorf("%s: got %q, want %q", c.Name, got, a.subjects)
					}
				}
			})
		}
	}
}

// openssl talks through s_client, all commands at once, and returns everything it shows. With -ign_eof it
// stays until the server ends the session.
func openssl(t testing.TB, args []string, commands ...string) string {
	t.Helper()
	cmd := exec.Command("/usr/bin/timeout", append([]string{"-k", "1", "60", "openssl", "s_client"}, args...)...)
	cmd.Stdin = strings.NewReader(strings.Join(commands, "\n") + "\n")
	out, _ := cmd.CombinedOutput() // a failed verification is also seen in the text
	return string(out)
}

// s_client with TLS 1.2 and 1.3, both protocols, both ways; the session is used, the certificate verified.
func TestOpenSSL(t *testing.T) { ways(t, testOpenSSL) }

func testOpenSSL(t *testing.T, p *pki) {
	startAccounts(t, p, dovecotAddr)
	f := startFront(t, p, "127.0.1.1", p.env(nil))
	imap := []string{"a LOGIN there pw+there", "b SELECT INBOX", "c LOGOUT"}
	pop3 := []string{"USER here", "PASS pw here", "STAT", "QUIT"}
	for _, version := range []string{"-tls1_2", "-tls1_3"} {
		for _, c := range []struct {
			args     string
			commands []string
			want     string
		}{
			{"-starttls imap -connect " + f.At("IMAP"), imap, "* 1 EXISTS"},
			{"-connect " + f.At("IMAPS"), imap, "* 1 EXISTS"},
			{"-starttls pop3 -connect " + f.At("POP3"), pop3, "+OK 2 "},
			{"-connect " + f.At("POP3S"), pop3, "+OK 2 "},
		} {
			t.Run(version+" "+c.args, func(t *testing.T) {
				t.Parallel()
				args := append(
					strings.Fields(c.args),
					version,
					"-crlf",
					"-ign_eof",
					"-CAfile",
					p.Trust,
					"-verify_ip",
					f.Addr,
					"-verify_return_error",
				)
				out := openssl(t, args, c.commands...)
				for _, want := range []string{"Verify return code: 0 (ok)",
					strings.Replace(version[1:], "tls1_", "TLSv1.", 1), c.want} {
					if !strings.Contains(out, want) {
						t.Errorf("no %q in:\n%s", want, out)
					}
				}
			})
		}
	}
}
