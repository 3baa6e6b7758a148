package fronttest

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"mailproxy/internal/throttle"
	"mailproxy/tests/transcript"
)

// Refusal is a line of the table in package login, as a mailhost and a client see it.
type Refusal struct {
	Name string
	// Mailhost is the mailhost's side of the dialogue, once for each of fay's two servers that is asked.
	Mailhost string
	// Client is what the client says as fay, and reads.
	Client string
	// Level is that of the log line, and Log a part of it.
	Level, Log string
	// Master has the proxy log in as master with the password "mpw".
	Master bool
	// Next says that the second server is asked as well.
	Next bool
}

// Fay is the user of Refusals: "geheim" is her password, and two mailhosts have her account.
const Fay = "fay"

// failedLine is the expression by which fail2ban's filter for Courier finds an address.
var failedLine = regexp.MustCompile(`LOGIN FAILED, .*ip=\[`)

// Refusals lets mailhosts refuse logins. However they say it, no line is one that fail2ban matches and the
// throttle does not count: the client's password was right.
func (f *Front) Refusals(t *testing.T, cases []Refusal) {
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			table := filepath.Join(dir, "throttle")
			settings := map[string]string{"THROTTLE_FILE": table}
			if c.Master {
				secret := filepath.Join(dir, "master")
				if err := os.WriteFile(secret, []byte("mpw\n"), 0o600); err != nil {
					t.Fatal(err)
				}
				settings["PROXY_MASTER_USER"], settings["PROXY_MASTER_PASSWORD_FILE"] = "master", secret
			}
			var asked atomic.Int32
			play := Mailhost(t, c.Mailhost)
			s := f.Begin(t, Options{Settings: settings, Mailhost: func(conn *net.UnixConn) {
				asked.Add(1)
				play(conn)
			}})
			transcript.Play(t, s.Conn, c.Client)
			s.Wait(t)
			want := int32(1)
			if c.Next {
				want = 2
			}
			if asked.Load() != want {
				t.Errorf("%d mailhosts were asked, want %d", asked.Load(), want)
			}
			log := s.Log.String()
			if n := strings.Count(log, "user="+Fay); n != int(want) || strings.Count(log, c.Level+": ") < n ||
				!strings.Contains(log, c.Log) {
				t.Errorf("want %d lines of level %s with %q, got\n%s", want, c.Level, c.Log, log)
			}
			if failedLine.MatchString(log) || strings.Contains(log, "geheim") || strings.Contains(log, "mpw") {
				t.Errorf("a failed login or a password in the log:\n%s", log)
			}
			counted, err := throttle.Open(table)
			if err != nil {
				t.Fatal(err)
			}
			defer counted.Close()
			// These are the first failures that are counted.
			n, err := counted.Failed(netip.MustParseAddr(clientIP), time.Now())
			named, nerr := counted.FailedName(Fay, time.Now())
			if n != 1 || named != 1 || err != nil || nerr != nil {
				t.Errorf("the throttle counts %d and %d failures, want 1 and 1: %v, %v", n, named, err, nerr)
			}
		})
	}
}
