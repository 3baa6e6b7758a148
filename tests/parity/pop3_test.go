package parity

import (
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"hash"
	"maps"
	"regexp"
	"strings"
	"testing"

	"mailproxy/tests/harness"
	"mailproxy/tests/transcript"
)

// pop3Differences are all differences between courierpop3login and pop3d-proxy in these transcripts.
var pop3Differences = map[string]difference{
	"capa": {"", "LANG\r\nRESP-CODES\r\nAUTH-RESP-CODE\r\n",
		"we use the response codes of RFC 3206 and RFC 2449; LANG came to Courier after Debian 12's version"},
	"sasl": {"SASL PLAIN\r\n", "",
		"RFC 2595 section 6: nothing is offered that would be refused before STLS"},
	"pipelining":     {"PIPELINING\r\n", "", "PASS would be sent along with the USER that is refused"},
	"user":           {"USER\r\n", "", "the same"},
	"implementation": {"Courier Mail Server", "mailproxy", "it is another program"},
	"auth":           {"", "[AUTH] ", "RFC 3206: the password is wrong, not the server"},
	"lang": {
		"-ERR Invalid command.\r\n", "+OK Language listing follows:\r\nen English\r\ni-default English\r\n.\r\n",
		"RFC 6856; newer versions of Courier have it",
	},
	"lang_en": {"-ERR Invalid command.", "+OK en Language changed", "the same"},
	"lang_de": {"-ERR Invalid command.", "-ERR Language not available.", "the same"},
	"auth_list": {
		"-ERR Invalid command.\r\n", "+OK\r\nPLAIN\r\nLOGIN\r\nCRAM-MD5\r\nCRAM-SHA1\r\nCRAM-SHA256\r\n.\r\n",
		"the listing of RFC 1734's days, which old clients still ask for",
	},
	"malformed": {"-ERR Authentication aborted.", "-ERR [AUTH] Authentication failed.",
		"good base64 that is no PLAIN message is a failed login, as slow and as counted as any other"},
	"cut_line": {
		"-ERR Invalid command.\r\n", "",
		"a line without its end is not a command; with QUIT in it Courier would even obey",
	},
}

// pop3Tolerated are the log lines that only one of them writes.
var pop3Tolerated = []*regexp.Regexp{
	// Ours at the end of a proxied session; Courier says nothing.
	regexp.MustCompile(`^INFO: LOGOUT, .*, mailhost=`),
	// Courier after a cancelled exchange and after bad base64: nobody tried to guess anything, and fail2ban
	// counts.
	regexp.MustCompile(`^INFO: LOGIN FAILED, method=`),
	// The two differ in what follows protocol=, see pop3Lines.
	regexp.MustCompile(`^INFO: LOGIN, .*, protocol=(POP3)?$`),
}

const pop3Mechanisms = "PLAIN LOGIN CRAM-MD5 CRAM-SHA1 CRAM-SHA256"

// pop3World starts authdaemond and a mailhost: ann and dan are here, bob is on the mailhost.
func pop3World(t *testing.T) {
	t.Helper()
	harness.Userdb(
		t,
		harness.Account{
			Name: "ann", Password: "sec ret", CRAM: true, Home: harness.NewHome(t, harness.Message("one")),
		},
		harness.Account{
			Name: "bob", Password: " two  blanks ", Home: harness.NewHome(t, harness.Message("two")),
			Options: "mailhost=127.0.0.2",
		},
		harness.Account{Name: "dan@example.com", Password: "x", Home: harness.NewHome(t)},
	)
	harness.CourierAuthdaemond(t, "authuserdb", nil)
	harness.CourierMailhost(t, "127.0.0.2")
}

// pop3Twins starts both programs with the same settings.
func pop3Twins(t *testing.T, m *harness.Mode, n int, env harness.Env) (courier, ours *twin) {
	t.Helper()
	env = maps.Clone(env)
	env["POP3_UTF8"] = "YES" // Courier offers UTF8 always
	return twins(t, m, n, harness.POP3, env, pop3Differences)
}

func TestPOP3(t *testing.T) { harness.EachMode(t, testPOP3) }

func testPOP3(t *testing.T, m *harness.Mode) {
	pop3World(t)
	for n, c := range []struct {
		file string
		env  harness.Env
	}{
		{"commands", harness.Env{"POP3_PROXY": "1", "POP3AUTH": pop3Mechanisms, "POP3_STARTTLS": "NO"}},
		{"login", harness.Env{"POP3_PROXY": "1", "POP3AUTH": pop3Mechanisms}},
		{"sasl", harness.Env{"POP3_PROXY": "1", "POP3AUTH": pop3Mechanisms}},
		{"bare", harness.Env{"POP3_PROXY": "0"}},
		{"tls-required", harness.Env{"POP3_PROXY": "1", "POP3AUTH": "PLAIN", "POP3_TLS_REQUIRED": "1"}},
		{"domain", harness.Env{"POP3_PROXY": "0", "DEFDOMAIN": "@example.com"}},
	} {
		t.Run(c.file, func(t *testing.T) {
			t.Parallel()
			courier, ours := pop3Twins(t, m, 10+n, c.env)
			compare(t, courier, ours, "testdata/pop3/"+c.file+".txt", crams("ann", "sec ret"), pop3Tolerated)
		})
	}
	t.Run("log lines", func(t *testing.T) {
		t.Parallel()
		pop3Lines(t, m)
	})
}

// crams are the answers to ${challenge} of a user.
func crams(user, password string) map[string]func(map[string]string) (string, error) {
	answer := func(h func() hash.Hash) func(map[string]string) (string, error) {
		return func(vars map[string]string) (string, error) {
			challenge, err := base64.StdEncoding.DecodeString(vars["challenge"])
			mac := hmac.New(h, []byte(password))
			mac.Write(challenge)
			return base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "%s %x", user, mac.Sum(nil))), err
		}
	}
	return map[string]func(map[string]string) (string, error){
		"cram_md5": answer(md5.New), "cram_sha1": answer(sha1.New), "cram_sha256": answer(sha256.New),
	}
}

// pop3Lines compares the lines of the two logs that a log parser looks for.
func pop3Lines(t *testing.T, m *harness.Mode) {
	courier, ours := pop3Twins(t, m, 30, harness.Env{"POP3_PROXY": "1", "POP3AUTH": pop3Mechanisms})
	for _, c := range []struct{ name, text, line string }{
		{"proxied", "S* .*\nC: USER bob\nS* .*\nC= \"PASS  two  blanks \\r\\n\"\nS* .*\nC: QUIT\nS* .*\nS-",
			"INFO: LOGIN, user=bob"},
		{"wrong SASL", "S* .*\nC: AUTH PLAIN AGFubgB3cm9uZw==\nS* -ERR .*\nC: QUIT\nS* .*\nS-",
			"INFO: LOGIN FAILED, method=PLAIN"},
		{"wrong password", "S* .*\nC: USER ann\nC: PASS x\nS* -ERR .*\nC: QUIT\nS* .*\nS-",
			"INFO: LOGIN FAILED, user=ann"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			script := transcript.MustParse(t, c.text)[0]
			var got [2]string
			for i, w := range []*twin{courier, ours} {
				port, err := w.play(t, script, nil)
				if err != nil {
					t.Error(err)
				}
				harness.Eventually(func() bool {
					for _, l := range w.lines(port) {
						if strings.HasPrefix(l, c.line) {
							got[i] = l
						}
					}
					return got[i] != ""
				})
			}
			// Courier's POP3 line ends in "protocol=" and no name, which can only be a slip: the local server
			// is told PROTOCOL for IMAP alone.
			if got[0] != strings.TrimSuffix(got[1], "POP3") || got[0] == "" {
				t.Errorf("Courier %q, ours %q", got[0], got[1])
			}
		})
	}
}

// Started with the wrong arguments.
func TestPOP3Arguments(t *testing.T) {
	for name, program := range map[string]string{"courier": harness.CourierPOP3Login,
		"ours": harness.PlainBin(t, "pop3d-proxy")} {
		addr := map[string]string{"courier": "127.0.31.1", "ours": "127.0.31.2"}[name]
		text := map[string]string{
			"courier": "S: -ERR pop3login requires exactly two arguments.\nS-",
			"ours":    "S: -ERR pop3d-proxy requires exactly two arguments.\nS-", // its own name
		}[name]
		harness.Couriertcpd(t,
			harness.TCPD{Addr: addr, Port: 110, Config: "pop3d", Program: []string{program, harness.CourierPOP3D}})
		harness.Dialogue(t, addr+":110", text)
	}
}

// Without an authdaemond Courier ends the session; ours keeps it, says that it is not the client's fault, and
// writes no line that fail2ban counts.
func TestPOP3NoDaemon(t *testing.T) {
	harness.EachMode(t, testPOP3NoDaemon)
}

func testPOP3NoDaemon(t *testing.T, m *harness.Mode) {
	courier, ours := pop3Twins(
		t,
		m,
		32,
		harness.Env{
			"POP3_PROXY": "1", "AUTHDAEMON_PROGRAM": "/bin/false",
			"AUTHDAEMON_SOCKET": "/run/courier/authdaemon/none",
		},
	)
	harness.Dialogue(t, courier.addr, `
		S: +OK Hello there.
		C: USER ann
		S: +OK Password required.
		C: PASS x
		S: -ERR Temporary problem, please try again later
		S-`)
	harness.Dialogue(t, ours.addr, `
		S: +OK Hello there.
		C: USER ann
		S: +OK Password required.
		C: PASS x
		S: -ERR [SYS/TEMP] Temporary problem, please try again later
		C: QUIT
		S: +OK Better luck next time.
		S-`)
	ours.log.Wait(t, `WARN: authentication error, ip=\[::ffff:127\.0\.0\.1\]`)
	if lines := ours.log.Find("LOGIN FAILED"); len(lines) > 0 {
		t.Errorf("log: %q", lines)
	}
}
