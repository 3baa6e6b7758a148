package harness_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"log/syslog"
	"net"
	"os"
	"strings"
	"testing"

	"mailproxy/tests/harness"
	"mailproxy/tests/testcert"
	"mailproxy/tests/testport"
	"mailproxy/tests/transcript"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

func TestCourierAlone(t *testing.T) {
	home := harness.NewHome(t, harness.Message("first"), harness.Message("second"))
	harness.Userdb(t,
		harness.Account{Name: "joe", Password: "pw", Home: home, Options: "mailhost=127.0.0.2", CRAM: true})
	harness.CourierAuthdaemond(t, "authuserdb", nil)
	imap, _ := harness.CourierMailhost(t, "127.0.0.2")
	harness.Dialogue(t, "127.0.0.2:143", `
		S~ \* OK \[CAPABILITY IMAP4rev1 .*
		C: a1 LOGIN joe pw
		S* a1 OK LOGIN Ok\.
		C: a2 STATUS INBOX (MESSAGES)
		S* \* STATUS "INBOX" \(MESSAGES 2\)
		S: a2 OK STATUS Completed.
		C: a3 LOGOUT
		S* a3 OK .*
		S-
	`)
	imap.Log.WaitN(t, 1, `LOGIN, user=joe, `)
	harness.Dialogue(t, "127.0.0.2:110", `
		S~ \+OK .*
		C: USER joe
		S~ \+OK .*
		C: PASS pw
		S~ \+OK .*
		C: STAT
		S~ \+OK 2 .*
		C: QUIT
		S~ \+OK .*
		S-
	`)
	// Courier's own proxy in front of it.
	harness.IMAP.UnderCourier(t, "127.0.0.1", harness.CourierIMAPLogin, harness.Env{"IMAP_PROXY": "1"})
	harness.Dialogue(t, "127.0.0.1:143", `
		S~ \* OK .*
		C: a1 LOGIN joe pw
		S: a1 OK connected to proxy server.
		C: a2 LOGOUT
		S* a2 OK .*
	`)
	harness.NoneLeft(t, "imaplogin", "imapd", "courierpop3d")
}

func TestDovecot(t *testing.T) {
	s := harness.Dovecot(t, harness.DovecotOptions{
		Addr: "127.0.0.3", HAProxy: true, Trusted: "127.0.0.0/8",
		Accounts: []harness.Account{
			{Name: "joe@example.com", Password: `p"w`, Home: harness.NewHome(t, harness.Message("x"))},
			{Name: "ann", Password: "pw"},
		},
		MasterUsers: []harness.Account{{Name: "boss", Password: "secret"}},
	})
	harness.Dialogue(t, "127.0.0.3:143", `
		S~ \* OK .*
		C: a1 LOGIN joe@example.com "p\"w"
		S* a1 OK .*
		C: a2 SELECT INBOX
		S* \* 1 EXISTS
		S* a2 OK .*
	`)
	harness.Dialogue(t, "127.0.0.3:110", `
		S~ \+OK .*
		C: USER ann
		S~ \+OK.*
		C: PASS pw
		S~ \+OK.*
	`)
	// "ann" NUL "boss" NUL "secret"
	harness.Dialogue(t, "127.0.0.3:143", `
		S~ \* OK .*
		C: a1 AUTHENTICATE PLAIN YW5uAGJvc3MAc2VjcmV0
		S* a1 OK .*
	`)
	s.Log.Wait(t, `imap-login: Info: Login: user=<joe@example.com>`)
	s.Log.Wait(t, `imap-login: Info: Login: user=<ann>`)
}

// Each launcher runs the same small program, which says who it talks to.
func TestLaunchers(t *testing.T) {
	program := []string{"/bin/sh", "-c", `exec >&0; printf '%s\r\n' "$GREETING"`}
	env := harness.Env{"GREETING": "hello"}
	fd3 := []string{"/bin/sh", "-c", `exec >&3; printf '%s %s\r\n' "$GREETING" "$LISTEN_FDS"`}
	listen := func(i int) harness.Listen {
		return harness.Listen{Addr: "127.0.0.1", Port: 5000 + i, Env: env, Program: program}
	}
	harness.Tcpserver(t, listen(1))
	harness.Tcpsvd(t, listen(2))
	harness.SystemdAccept(t, listen(3), true)
	three := listen(4)
	three.Program = fd3
	harness.SystemdAccept(t, three, false)
	five := listen(5)
	five.Program = []string{"/usr/bin/env"}
	harness.Xinetd(t, five)
	harness.Couriertcpd(t, harness.TCPD{Addr: "127.0.0.1", Port: 5006, Clean: true, Env: env, Program: program})
	for port, want := range map[int]string{5001: "S: hello", 5002: "S: hello", 5003: "S: hello",
		5004: "S: hello 1", 5005: `S~ (?s).*GREETING=hello\n.*`, 5006: "S: hello"} {
		if port == 5005 {
			if out, err := readAll(fmt.Sprintf("127.0.0.1:%d", port)); err != nil ||
				!strings.Contains(out, "GREETING=hello\n") {
				t.Errorf("port %d: %q, %v", port, out, err)
			}
			continue
		}
		harness.Dialogue(t, fmt.Sprintf("127.0.0.1:%d", port), want)
	}
}

func TestSyslog(t *testing.T) {
	log := harness.Syslog(t)
	w, err := syslog.New(syslog.LOG_MAIL|syslog.LOG_INFO, "test")
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	w.Info("LOGIN, user=x")
	log.Wait(t, `^<22>.*LOGIN, user=x`)
}

func TestFakeMailhost(t *testing.T) {
	fake := harness.NewFakeMailhost(t, "127.0.0.4:143", harness.Scripted(t, 0, `
		S: * OK fake
		C~ (?P<tag>\S+) LOGIN .*
		S: ${tag} NO
	`))
	harness.Dialogue(t, fake.Addr, `
		S: * OK fake
		C: x LOGIN a b
		S: x NO
		S-
	`)
	if fake.Connections() != 1 || len(fake.Errors()) != 0 {
		t.Errorf("%d connections, errors %v", fake.Connections(), fake.Errors())
	}
}

func readAll(addr string) (string, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	out, err := io.ReadAll(conn)
	return string(out), err
}

// What a mode promises to every test: all four ports serve accounts here and elsewhere, the log of a port has
// its logins, and a proxy is idle when its sessions have ended.
func TestModes(t *testing.T) {
	cert := harness.NewPKI(t).File(t, "proxy.pem", testcert.Spec{Name: "proxy.example"})
	harness.Site{Mailboxes: harness.Mailboxes}.Start(t)
	harness.EachMode(t, func(t *testing.T, m *harness.Mode) {
		p := m.Start(t, harness.ProxyOptions{Addr: "127.0.1.1", TLS: true,
			Env: harness.Env{"TLS_CERTFILE": cert, "TLS_CACHEFILE": ""}})
		for _, box := range harness.Mailboxes {
			login := map[string]string{
				"IMAP": "S* \\* OK .*\nC: a LOGIN " + box.Name + " " + harness.Quoted(box.Password) + "\nS* a OK .*\n" +
					"C: b LOGOUT\nS* b OK .*\nS-",
				"POP3": "S* \\+OK .*\nC: USER " + box.Name + "\nS* \\+OK.*\nC: PASS " + box.Password + "\nS* \\+OK.*\n" +
					"C: QUIT\nS* \\+OK.*\nS-",
			}
			for protocol, dialogue := range login {
				harness.Dialogue(t, p.At(protocol), dialogue).Conn.Close()
				conn, err := tls.Dial("tcp", p.At(protocol+"S"), &tls.Config{InsecureSkipVerify: true})
				if err != nil {
					t.Fatal(err)
				}
				(&transcript.Runner{Conn: conn}).MustPlay(t, dialogue)
				conn.Close()
				for _, port := range []string{protocol, protocol + "S"} {
					p.Log(port).Wait(t, "LOGIN, user="+box.Name+", ")
					if box.Host != "" {
						p.Ends(port).Wait(t, "LOGOUT, user="+box.Name+", .*, mailhost="+box.Host)
					}
				}
			}
		}
		p.Idle(t)
		p.Broken(t, "IMAP", 0, "")
	})
}

// When few ports are left, none who asks for any port gets a reserved one, neither to listen nor to connect.
// Each case has ports of its own: closed connections of the other may hold theirs for a minute.
func TestReserve(t *testing.T) {
	const file = "/proc/sys/net/ipv4/ip_local_port_range"
	before := harness.ReadFile(t, file)
	t.Cleanup(func() { _ = os.WriteFile(file, []byte(before), 0o644) })
	server, err := net.Listen("tcp", "127.0.0.2:143")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	for _, c := range []struct {
		name, ports string
		take        func() (net.Addr, io.Closer, error)
	}{
		{"listen", "40000 40063", func() (net.Addr, io.Closer, error) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				return nil, nil, err
			}
			return l.Addr(), l, nil
		}},
		{"connect", "41000 41063", func() (net.Addr, io.Closer, error) {
			c, err := net.Dial("tcp", server.Addr().String())
			if err != nil {
				return nil, nil, err
			}
			return c.LocalAddr(), c, nil
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			harness.WriteFile(t, file, c.ports, 0o644)
			reserved := testport.Reserve(t)
			taken := 0
			for {
				addr, open, err := c.take()
				if err != nil {
					break // no port is left
				}
				t.Cleanup(func() { open.Close() })
				if taken++; addr.String() == reserved {
					t.Errorf("the system gave %s away", reserved)
				}
			}
			if taken < 32 {
				t.Errorf("%d ports were given", taken)
			}
		})
	}
}
