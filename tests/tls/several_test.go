package tls

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"mailproxy/tests/harness"
	"mailproxy/tests/testcert"
)

// Two certificates at once, ECDSA and RSA: OpenSSL's clients get the one that they can use, over all four
// ports, for the default files and for those of a name, and resume what they began.
func TestSeveralCertificates(t *testing.T) { ways(t, testSeveralCertificates) }

func testSeveralCertificates(t *testing.T, p *pki) {
	startAccounts(t, p, dovecotAddr)
	ec := p.File(t, "ec.pem", testcert.Spec{Name: "proxy.example"})
	p.File(t, "proxy.pem.www.example.com", testcert.Spec{Name: "www.example.com", RSA: true})
	p.File(t, "ec.pem.www.example.com", testcert.Spec{Name: "www.example.com"})
	p.mode.Give(t, p.Dir) // the file of ticket keys
	f := startFront(t, p, "127.0.1.1", p.env(harness.Env{
		"TLS_CERTFILE":  p.cert + " " + ec,
		"TLS_CACHEFILE": filepath.Join(p.Dir, "cache"),
	}))
	imap := []string{"a LOGIN there pw+there", "b SELECT INBOX", "c LOGOUT"}
	pop3 := []string{"USER here", "PASS pw here", "STAT", "QUIT"}
	ports := []struct {
		args     string
		commands []string
		want     string
	}{
		{"-starttls imap -connect " + f.At("IMAP"), imap, "* 1 EXISTS"},
		{"-connect " + f.At("IMAPS"), imap, "* 1 EXISTS"},
		{"-starttls pop3 -connect " + f.At("POP3"), pop3, "+OK 2 "},
		{"-connect " + f.At("POP3S"), pop3, "+OK 2 "},
	}
	clients := []struct{ name, args, key string }{
		{"TLS 1.3", "-tls1_3", ecKey},
		{"TLS 1.3, RSA in front", "-tls1_3 -sigalgs rsa_pss_rsae_sha256:ecdsa_secp256r1_sha256", ecKey},
		{"TLS 1.3, RSA only", "-tls1_3 -sigalgs rsa_pss_rsae_sha256", rsaKey},
		{"TLS 1.2", "-tls1_2", ecKey},
		{"TLS 1.2, ECDSA", "-tls1_2 -cipher ECDHE-ECDSA-AES128-GCM-SHA256", ecKey},
		{"TLS 1.2, RSA", "-tls1_2 -cipher ECDHE-RSA-AES128-GCM-SHA256", rsaKey},
		{"TLS 1.2, signatures with RSA only", "-tls1_2 -sigalgs RSA+SHA256", rsaKey},
	}
	for i, c := range clients {
		for _, name := range []string{"", "www.example.com"} {
			port := ports[i%len(ports)]
			if name != "" {
				port = ports[(i+1)%len(ports)]
			}
			args := strings.Fields(port.args + " -quiet -noservername " + c.args)
			subject := "proxy.example"
			if name != "" {
				args = strings.Fields(port.args + " -quiet -servername " + name + " " + c.args)
				subject = name
			}
			out := openssl(t, append(args, "-ign_eof"), port.commands...)
			if !strings.Contains(out, port.want) {
				t.Errorf("%s, %s: no session:\n%s", c.name, port.args, out)
			}
			args[len(strings.Fields(port.args))] = "-ign_eof" // not -quiet: it says what it got
			out = openssl(t, args, "z LOGOUT", "QUIT")
			if !strings.Contains(out, c.key) || !strings.Contains(out, "s:O = Example, CN = "+subject) {
				t.Errorf("%s, name %q, %s: not %s:\n%s", c.name, name, port.args, c.key, out)
			}
		}
	}

	// Each client resumes what it began, on another port as well.
	for i, c := range clients {
		session := filepath.Join(p.Dir, fmt.Sprint("session", i))
		connect := func(port, file string) string {
			return openssl(t, strings.Fields(c.args+" -ign_eof -connect "+f.At(port)+" "+file+" "+session),
				"z LOGOUT", "QUIT")
		}
		if out := connect("IMAPS", "-sess_out"); !strings.Contains(out, "New, TLSv1") {
			t.Errorf("%s: no first session:\n%s", c.name, out)
		}
		for _, port := range []string{"IMAPS", "POP3S"} {
			if out := connect(port, "-sess_in"); !strings.Contains(out, "Reused, TLSv1") {
				t.Errorf("%s, %s: not resumed:\n%s", c.name, port, out)
			}
		}
	}
}

// One of two certificates breaks: clients that can do without it go on, from the next connection on where
// each has a process of its own. (A resident front end that had both goes on with what it had.)
func TestOneOfTwoBreaks(t *testing.T) { frontEnds(t, testOneOfTwoBreaks) }

func testOneOfTwoBreaks(t *testing.T, p *pki) {
	ec := p.File(t, "ec.pem", testcert.Spec{Name: "proxy.example"})
	f := startFront(t, p, "127.0.1.1", p.env(harness.Env{"TLS_CERTFILE": ec + " " + p.cert}))
	for _, port := range []string{"IMAPS", "POP3S"} {
		connect := func(client string) string {
			return openssl(t, strings.Fields("-ign_eof -connect "+f.At(port)+" "+client), "z LOGOUT", "QUIT")
		}
		for _, broken := range []string{"no CERTIFICATE in PEM form", mismatch} {
			p.File(t, "ec.pem", testcert.Spec{Name: "proxy.example"})
			f.Reread(t, port)
			if out := connect("-tls1_3"); !strings.Contains(out, ecKey) {
				t.Errorf("%s: both are there:\n%s", port, out)
			}
			content := []byte("nonsense")
			if broken == mismatch {
				content = append(p.CA.Issue(t, testcert.Spec{Name: "proxy.example"}).CertPEM(), p.CA.KeyPEM(t)...)
			}
			harness.WriteFile(t, ec, content, 0o600)
			f.Reread(t, port)
			if out := connect("-tls1_3"); !strings.Contains(out, rsaKey) {
				t.Errorf("%s, %s: not the other one:\n%s", port, broken, out)
			}
			f.Log(port).Wait(t, "^ERR: .*ec.pem: "+broken+"; the other certificate serves")
		}
		if out := connect("-tls1_3 -sigalgs ecdsa_secp256r1_sha256"); !strings.Contains(out, "handshake failure") {
			t.Errorf("%s: a client that needs what is broken:\n%s", port, out)
		}
	}
}

// mismatch is what the log says of a key that is not the certificate's.
const mismatch = "the private key does not belong to the certificate"

// What s_client says of the server's key.
const (
	ecKey  = "a:PKEY: id-ecPublicKey"
	rsaKey = "a:PKEY: rsaEncryption"
)
