package verify

import (
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	clientscram "github.com/xdg-go/scram"

	"mailproxy/authlib"
	"mailproxy/authlib/scram"
	"mailproxy/tests/harness"
	"mailproxy/tests/testcert"
	"mailproxy/tests/transcript"
)

// takesAll is a mailhost that lets everybody in.
func takesAll(t *testing.T, addr string) []*harness.FakeMailhost {
	t.Helper()
	return []*harness.FakeMailhost{
		harness.NewFakeMailhost(t, addr+":143", harness.Scripted(t, 0,
			"S: * OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR] hi\nC~ a .*\nS: a OK in")),
		harness.NewFakeMailhost(t, addr+":110", harness.Scripted(t, 0,
			"S: +OK hi\nC~ .*\nS: +OK\nC~ .*\nS: +OK in")),
	}
}

func connections(hosts []*harness.FakeMailhost) (n int) {
	for _, h := range hosts {
		n += h.Connections()
	}
	return n
}

// Where the mailhost verifies the password, who does not show one is refused, however good the proof is; nor
// is a mailhost asked for who is not known. Nobody but the mailhost could refuse these here, and it would
// not.
func TestNotShown(t *testing.T) {
	keys, err := scram.SHA256().Make("secret", 4096)
	if err != nil {
		t.Fatal(err)
	}
	harness.Userdb(t,
		harness.Account{Name: "ann", Password: "secret", CRAM: true, Options: "mailhost=" + oldHost +
			",verify=mailhost"},
		harness.Account{Name: "bob", Hash: "{SCRAM-SHA-256}" + keys.String(),
			Options: "mailhost=" + oldHost + ",verify=mailhost"},
		harness.Account{Name: "here", Password: "secret", Options: "verify=mailhost"})
	harness.CourierAuthdaemond(t, "authuserdb", nil)
	hosts := takesAll(t, oldHost)
	pki := harness.NewPKI(t)
	pair := pki.File(t, "proxy.pem", testcert.Spec{Name: "proxy", Names: []string{proxy}})
	client := pki.CA.Issue(t, testcert.Spec{Name: "x", Email: "ann"})
	config := &tls.Config{InsecureSkipVerify: true,
		Certificates: []tls.Certificate{{Certificate: [][]byte{client.DER}, PrivateKey: client.Key}}}
	harness.EachFrontEnd(t, func(t *testing.T, m *harness.Mode) {
		p := m.Start(t, harness.ProxyOptions{Addr: proxy, TLS: true, Env: harness.Env{
			"PROXY_VERIFY": "MAILHOST", "TLS_CERTFILE": pair, "TLS_CACHEFILE": "", "TLS_TRUSTCERTS": pki.Trust,
			"TLS_VERIFYPEER": "PEER", "TLS_EXTERNAL": "emailaddress",
			"IMAP_CAPABILITY_TLS": "IMAP4rev1 AUTH=PLAIN AUTH=CRAM-MD5 AUTH=SCRAM-SHA-256",
			"POP3AUTH_TLS":        "PLAIN CRAM-MD5 SCRAM-SHA-256",
		}})
		for _, port := range []string{"IMAPS", "POP3S"} {
			begin, command, broken, wrong := "S* \\* OK .*\n", "C: a AUTHENTICATE ", "S: a NO [CONTACTADMIN] .*",
				"S: a NO [AUTHENTICATIONFAILED] Login failed."
			if port == "POP3S" {
				begin, command, broken, wrong = "S* \\+OK .*\n", "C: AUTH ", "S: -ERR [SYS/PERM] .*",
					"S: -ERR [AUTH] Authentication failed."
			}
			broken = strings.NewReplacer("S: ", "S~ ", "[", `\[`, "]", `\]`).Replace(broken)
			plain := func(user, password string) string {
				return command + "PLAIN\nS= \"+ \\r\\n\"\nC: " +
					base64.StdEncoding.EncodeToString([]byte("\x00"+user+"\x00"+password)) + "\n"
			}
			for _, c := range []struct{ name, dialogue, log string }{
				{"EXTERNAL", command + "EXTERNAL\nS= \"+ \\r\\n\"\nC:\n" + broken,
					"LOGIN REFUSED, method=EXTERNAL, user=ann, "},
				{"CRAM-MD5", command + "CRAM-MD5\nS~ \\+ (?P<chal>\\S+)\nC: ${cram}\n" + broken,
					"LOGIN REFUSED, method=CRAM-MD5, user=ann, "},
				{"SCRAM-SHA-256", command + "SCRAM-SHA-256\nS= \"+ \\r\\n\"\nC: ${first}\nS~ \\+ (?P<chal>\\S+)\n" +
					"C: ${final}\nS~ \\+ .*\nC:\n" + broken, "LOGIN REFUSED, method=SCRAM-SHA-256, user=bob, "},
				{"nobody", plain("nobody", "secret") + wrong, "LOGIN FAILED, method=PLAIN, "},
				{"here", plain("here", "secret") + broken, "ERR: account here cannot be used: .* the account is here"},
				{"no password", plain("ann", "") + wrong, "LOGIN FAILED, method=PLAIN, "},
			} {
				t.Run(port+"/"+c.name, func(t *testing.T) {
					before := len(p.Log(port).Find(c.log))
					raw := harness.Connect(t, p.At(port))
					defer raw.Close()
					_ = raw.SetDeadline(time.Now().Add(harness.Patience))
					r := &transcript.Runner{Conn: tls.Client(raw, config), Funcs: proofs(t)}
					r.MustPlay(t, begin+c.dialogue)
					p.Log(port).WaitN(t, before+1, c.log)
				})
			}
		}
	})
	if n := connections(hosts); n > 0 {
		t.Errorf("the mailhost was asked %d times", n)
	}
}

// proofs answer the challenges of CRAM-MD5 for ann and of SCRAM-SHA-256 for bob, both with the right
// password.
func proofs(t *testing.T) map[string]func(vars map[string]string) (string, error) {
	t.Helper()
	client, err := clientscram.SHA256.NewClient("bob", "secret", "")
	if err != nil {
		t.Fatal(err)
	}
	bob := client.NewConversation()
	challenge := func(vars map[string]string) string {
		text, _ := base64.StdEncoding.DecodeString(vars["chal"])
		return string(text)
	}
	answer := func(text string, err error) (string, error) {
		return base64.StdEncoding.EncodeToString([]byte(text)), err
	}
	return map[string]func(vars map[string]string) (string, error){
		"cram": func(vars map[string]string) (string, error) {
			return answer(string(harness.CRAMResponse(authlib.AuthCRAMMD5, "ann", "secret", challenge(vars))), nil)
		},
		"first": func(map[string]string) (string, error) { return answer(bob.Step("")) },
		"final": func(vars map[string]string) (string, error) { return answer(bob.Step(challenge(vars))) },
	}
}

// The master user, who needs no password of an account's, is never logged in for one whose mailhost verifies
// it: an account's option refuses its logins, and the setting stops the program.
func TestNotAsMaster(t *testing.T) {
	harness.Userdb(t,
		harness.Account{Name: "ann", Password: "secret", Options: "mailhost=" + oldHost + ",verify=mailhost"})
	harness.CourierAuthdaemond(t, "authuserdb", nil)
	hosts := takesAll(t, oldHost)
	secret := testcert.Write(t, harness.Dir(t)+"/master", []byte("master secret\n"))
	harness.Readable(t, secret)
	master := harness.Env{"PROXY_MASTER_USER": "master", "PROXY_MASTER_PASSWORD_FILE": secret}
	harness.EachFrontEnd(t, func(t *testing.T, m *harness.Mode) {
		p := m.Start(t, harness.ProxyOptions{Addr: proxy, Env: master})
		for protocol, want := range map[string]string{"IMAP": "NO [UNAVAILABLE] ", "POP3": "-ERR [SYS/TEMP] "} {
			for _, password := range []string{"secret", "wrong"} {
				if got := login(t, p, protocol, "ann", password); !strings.HasPrefix(got, want) {
					t.Errorf("%s, %s: %s", protocol, password, got)
				}
			}
			p.Log(protocol).WaitN(t, 2, "^ERR: account ann cannot be used: .*, but PROXY_MASTER_USER is set")
			if lines := p.Log(protocol).Find("LOGIN FAILED"); len(lines) > 0 {
				t.Errorf("%s: %q", protocol, lines)
			}
		}
	})
	const why = "PROXY_VERIFY=MAILHOST and PROXY_MASTER_USER exclude each other"
	both := master.With(harness.Env{"PROXY_VERIFY": "MAILHOST"})
	p := harness.PerConnection().Start(t, harness.ProxyOptions{Addr: proxy, Env: both})
	for protocol, says := range map[string]string{"IMAP": `\* BYE \[UNAVAILABLE\] .*`,
		"POP3": `-ERR \[SYS/TEMP\] .*`} {
		harness.Dialogue(t, p.At(protocol), "S~ "+says+"\nS-")
		p.Log(protocol).Wait(t, why)
		program := map[string]string{"IMAP": "imapd-proxy", "POP3": "pop3d-proxy"}[protocol]
		cmd := exec.Command(harness.Bin(t, program), "-user", harness.ResidentUser, "-listen", "127.0.1.2:1143")
		cmd.Env = []string{"IMAP_PROXY=1", "POP3_PROXY=1", "PATH=/usr/bin:/bin"}
		for name, value := range both {
			cmd.Env = append(cmd.Env, fmt.Sprintf("%s=%s", name, value))
		}
		resident := harness.Start(t, cmd)
		if status := resident.Wait(t); status != 1 {
			t.Errorf("%s: exit status %d", program, status)
		}
		resident.Log.Wait(t, why)
	}
	if n := connections(hosts); n > 0 {
		t.Errorf("the mailhost was asked %d times", n)
	}
}
