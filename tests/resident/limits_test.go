package resident

import (
	"crypto/tls"
	"fmt"
	"testing"

	"mailproxy/tests/harness"
	"mailproxy/tests/testcert"
	"mailproxy/tests/transcript"
)

const limitsAddr = "127.0.1.2"

var turnedAway = map[string]string{
	"IMAP": "S: * BYE [UNAVAILABLE] Temporary problem, please try again later\nS-",
	"POP3": "S: -ERR [SYS/TEMP] Temporary problem, please try again later\nS-",
}

// commands show that a session goes on.
var commands = map[string]string{
	"IMAP": "C: a NOOP\nS: a OK NOOP completed",
	"POP3": "C: CAPA\nS~ \\+OK.*\nS* \\.",
}

// At MAXUNAUTH a client is told, those that are in notice nothing, and one that leaves makes room. The log
// has one line for all.
func TestMaxUnauth(t *testing.T) {
	harness.Site{}.Start(t)
	env := harness.Env{"MAXUNAUTH": "3"}
	p := harness.Resident().Start(t, harness.ProxyOptions{Addr: limitsAddr, Env: env})
	for _, protocol := range harness.Protocols {
		var in []*transcript.Runner
		for range 3 {
			in = append(in, harness.Dialogue(t, p.At(protocol.Name), protocol.Greeting))
		}
		for range 20 {
			harness.Dialogue(t, p.At(protocol.Name), turnedAway[protocol.Name])
		}
		for _, r := range in {
			r.MustPlay(t, commands[protocol.Name])
		}
		in[0].Conn.Close()
		if !harness.Eventually(func() bool {
			return harness.Dial(t, p.At(protocol.Name)).Play(transcript.MustParse(t, protocol.Greeting)[0]) == nil
		}) {
			t.Errorf("%s: a client that has left makes no room", protocol.Name)
		}
		p.Log(protocol.Name).WaitN(t, 1, "^WARN: MAXUNAUTH: 3 connections without a login are here, ")
	}
}

// MAXUNAUTHPERIP needs no THROTTLE_FILE here. Other addresses notice nothing.
func TestMaxUnauthPerIP(t *testing.T) {
	harness.Site{}.Start(t)
	env := harness.Env{"MAXUNAUTHPERIP": "2"}
	p := harness.Resident().Start(t, harness.ProxyOptions{Addr: limitsAddr, Env: env})
	for _, protocol := range harness.Protocols {
		for range 2 {
			transcript.Play(t, harness.ConnectFrom(t, "127.0.9.1", p.At(protocol.Name)), protocol.Greeting)
		}
		for range 20 {
			transcript.Play(t, harness.ConnectFrom(t, "127.0.9.1", p.At(protocol.Name)), turnedAway[protocol.Name])
		}
		transcript.Play(t, harness.ConnectFrom(t, "127.0.9.2", p.At(protocol.Name)), protocol.Greeting)
		p.Log(protocol.Name).WaitN(t, 1, "MAXUNAUTHPERIP=2: 1 connections turned away, the last of ip=.*127.0.9.1")
	}
}

// Sessions of one user, and of one address, have an end; the client is told and may try again.
func TestMaxSessions(t *testing.T) {
	boxes := []harness.Mailbox{harness.Mailboxes[1], harness.Mailboxes[2]}
	for _, test := range []struct {
		name         string
		env          harness.Env
		second, from string
		refused      bool
	}{
		{"user", harness.Env{"MAXSESSIONSPERUSER": "1"}, boxes[0].Name, "127.0.9.2", true},
		{"another user", harness.Env{"MAXSESSIONSPERUSER": "1"}, boxes[1].Name, "127.0.9.1", false},
		{"address", harness.Env{"MAXSESSIONSPERIP": "1"}, boxes[1].Name, "127.0.9.1", true},
		{"another address", harness.Env{"MAXSESSIONSPERIP": "1"}, boxes[0].Name, "127.0.9.2", false},
		{"all", harness.Env{"MAXSESSIONS": "1"}, boxes[1].Name, "127.0.9.2", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			harness.Site{Mailboxes: boxes}.Start(t)
			p := harness.Resident().Start(t, harness.ProxyOptions{
				Addr: limitsAddr, Protocols: []string{"IMAP"}, Env: test.env,
			})
			login := func(name, from, answer string) {
				t.Helper()
				password := boxes[0].Password
				if name == boxes[1].Name {
					password = boxes[1].Password
				}
				transcript.Play(t, harness.ConnectFrom(t, from, p.At("IMAP")), fmt.Sprintf(
					"S~ \\* OK .*\nC: a LOGIN %s %s\nS* %s", name, harness.Quoted(password), answer))
			}
			login(boxes[0].Name, "127.0.9.1", "a OK .*")
			if test.refused {
				login(test.second, test.from, `a NO \[(UNAVAILABLE|LIMIT)\] .*`)
			} else {
				login(test.second, test.from, "a OK .*")
			}
		})
	}
}

// However many clients say nothing, or send half a TLS record, another one's handshake is made at once.
func TestSilentHandshakes(t *testing.T) {
	harness.Site{}.Start(t)
	pki := harness.NewPKI(t)
	file := pki.File(t, "cert.pem", testcert.Spec{Name: "localhost"})
	p := harness.Resident().Start(t, harness.ProxyOptions{
		Addr: limitsAddr, Protocols: []string{"IMAP"}, TLS: true,
		Env: harness.Env{"TLS_CERTFILE": file, "MAXHANDSHAKES": "1"},
	})
	for i := range 50 {
		r := harness.Dial(t, p.At("IMAPS"))
		if i%2 == 0 {
			r.Conn.Write([]byte("\x16\x03\x01\x02\x00"))
		}
	}
	conn, err := tls.Dial("tcp", p.At("IMAPS"), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	(&transcript.Runner{Conn: conn}).MustPlay(t, "S~ \\* OK .*\nC: a LOGOUT\nS* a OK .*")
}
