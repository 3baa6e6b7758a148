package tls

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"mailproxy/tests/harness"
	"mailproxy/tests/testcert"
)

// GNU SASL logs in by SCRAM, in both protocols, with and without channel binding, to an account that is here
// and to one on Dovecot, with keys that it has made itself and that Courier's daemon has in userdb. Sessions
// go on afterwards, in each way to carry them. The bindings that it does not have are another client's.
func TestSCRAM(t *testing.T) { ways(t, testSCRAM) }

func testSCRAM(t *testing.T, p *pki) {
	hosts(t)
	keys := func(password string) string {
		return strings.TrimSpace(harness.Run(t, "", "gsasl", "-k", "-m", "SCRAM-SHA-256", "-p", password,
			"--iteration-count", "10000"))
	}
	var boxes []harness.Mailbox
	for _, a := range accounts {
		boxes = append(boxes, harness.Mailbox{Subjects: a.subjects,
			Account: harness.Account{Name: a.name, Password: a.password, Hash: keys(a.password)}})
	}
	boxes[1].Host = harness.DovecotHost
	boxes = append(boxes, harness.Mailbox{Account: harness.Account{Name: "old", Password: "pw here"}}) // {SHA}
	pair := p.File(t, "dovecot.pem", testcert.Spec{Name: dovecotName, Names: []string{dovecotName, dovecotAddr}})
	harness.Site{Mailboxes: boxes, Dovecot: harness.DovecotOptions{CertFile: pair, KeyFile: pair,
		MasterUsers: []harness.Account{{Name: "master", Password: "master secret"}}}}.Start(t)
	secret := testcert.Write(t, p.Dir+"/master", []byte("master secret\n"))
	harness.Readable(t, secret)
	const addr = "127.0.1.1"
	p.mode.Give(t, p.Dir) // with the keys of tickets
	startFront(t, p, addr, p.env(harness.Env{
		"IMAP_CAPABILITY_TLS": "IMAP4rev1 AUTH=SCRAM-SHA-256-PLUS AUTH=SCRAM-SHA-256 AUTH=PLAIN",
		"POP3AUTH_TLS":        "SCRAM-SHA-256-PLUS SCRAM-SHA-256 PLAIN",
		"PROXY_MASTER_USER":   "master", "PROXY_MASTER_PASSWORD_FILE": secret, "LOGIN_FAIL_DELAY": "0",
		"PROXY_TLS": "STARTTLS", "PROXY_TLS_VERIFYPEER": "NONE",
		"TLS_CACHEFILE": filepath.Join(p.Dir, "cache"),
	}))
	for _, protocol := range []string{"IMAP", "POP3"} {
		login, broken := gsaslIMAP, "CONTACTADMIN"
		if protocol == "POP3" {
			login, broken = gsaslPOP3, "SYS/PERM"
		}
		for _, c := range []struct {
			mechanism, user, password string
			wants                     string // the refusal's code; "" = the login succeeds
		}{
			{"SCRAM-SHA-256-PLUS", "here", "pw here", ""},
			{"SCRAM-SHA-256-PLUS", "there", "pw+there", ""},
			{"SCRAM-SHA-256", "here", "pw here", ""},
			{"SCRAM-SHA-256", "there", "pw+there", ""},
			{"SCRAM-SHA-256-PLUS", "there", "wrong", "AUTH"},
			{"SCRAM-SHA-256", "nobody", "pw here", "AUTH"},
			{"SCRAM-SHA-256", "old", "pw here", broken},
		} {
			t.Run(fmt.Sprintf("%s/%s/%s", protocol, c.mechanism, c.user), func(t *testing.T) {
				wants := c.wants
				if wants == "" && c.user == "here" && !p.mode.Launched() {
					wants = broken // PROXY_LOCAL needs the password in clear
				}
				said := login(t, p, names[addr], c.mechanism, c.user, c.password)
				if ok := strings.Contains(said, "the session works"); ok != (wants == "") ||
					!ok && !strings.Contains(said, "["+wants) {
					t.Errorf("%s", said)
				}
			})
		}
	}
	bound(t, addr, "there", "pw+there")
}

// gsasl runs GNU SASL's client.
func gsasl(t *testing.T, stdin io.Reader, out io.Writer, mechanism, user, password string, args ...string) {
	t.Helper()
	args = append(args, "-m", mechanism, "-a", user, "-p", password)
	if !strings.HasSuffix(mechanism, "-PLUS") {
		args = append(args, "--no-cb")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*harness.Patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "gsasl", args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, out, out
	// It fails where the login does, which the text shows.
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
}

// gsaslIMAP lets GNU SASL do everything, TLS included, and then say a command. It returns all that it shows.
func gsaslIMAP(t *testing.T, p *pki, host, mechanism, user, password string) string {
	var out bytes.Buffer
	gsasl(t, strings.NewReader(". EXAMINE INBOX\r\n"), &out, mechanism, user, password,
		"--imap", "--connect", host+":143", "--starttls", "--x509-ca-file", p.Trust, "--verbose")
	said := out.String()
	if strings.Contains(said, "PERMANENTFLAGS") {
		said += "the session works\n"
	}
	return said
}

// gsaslPOP3 carries the messages between the server and GNU SASL, which does not know the protocol, then says
// a command. It returns all that the server says.
func gsaslPOP3(t *testing.T, p *pki, host, mechanism, user, password string) string {
	_, conn := upgrade(t, dialTCP(t, host+":110"), pop3Upgrade, &tls.Config{InsecureSkipVerify: true})
	state := conn.ConnectionState()
	exported, err := state.ExportKeyingMaterial("EXPORTER-Channel-Binding", nil, 32)
	if err != nil {
		t.Fatal(err)
	}
	toClient, stdin := io.Pipe()
	stdout, fromClient := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		gsasl(t, toClient, fromClient, mechanism, user, password, "--client", "--quiet")
		fromClient.Close()
	}()
	t.Cleanup(func() {
		stdin.Close()
		stdout.Close()
		<-done
	})
	// Its first line is the mechanism's name. For channel binding it asks for tls-exporter.
	if strings.HasSuffix(mechanism, "-PLUS") {
		fmt.Fprintln(stdin, base64.StdEncoding.EncodeToString(exported))
	}
	client, server := bufio.NewScanner(stdout), bufio.NewScanner(conn)
	client.Scan()
	said := ""
	command := "AUTH " + mechanism + " "
	for client.Scan() {
		message := client.Text()
		message = message[strings.LastIndexByte(message, ' ')+1:] // after the question
		fmt.Fprintf(conn, "%s%s\r\n", command, message)
		command = ""
		if !server.Scan() {
			t.Fatalf("the server hangs up after %q: %v", said, server.Err())
		}
		said += server.Text() + "\n"
		challenge, more := strings.CutPrefix(server.Text(), "+ ")
		if !more {
			break
		}
		fmt.Fprintln(stdin, challenge)
	}
	fmt.Fprintf(conn, "STAT\r\nQUIT\r\n")
	for server.Scan() {
		said += server.Text() + "\n"
	}
	if strings.Contains(said, "\n+OK 1 ") || strings.Contains(said, "\n+OK 2 ") {
		said += "the session works\n"
	}
	return said
}
