package frontend

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
	"time"

	"mailproxy/internal/login"
	"mailproxy/internal/mailhost"
)

// fakeRelayd is a socket that remembers the first message of each caller, without LOGIN_US, and answers a
// TAKE.
type fakeRelayd struct {
	path     string
	messages chan string
	answers  []string // one a message of a session
}

var loginMicroseconds = regexp.MustCompile(`LOGIN_US=\d+\n`)

func newFakeRelayd(t *testing.T, answers ...string) *fakeRelayd {
	t.Helper()
	r := &fakeRelayd{filepath.Join(t.TempDir(), "relayd"), make(chan string, 20), answers}
	l, err := net.Listen("unixpacket", r.path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			r.serve(c)
		}
	}()
	return r
}

func (r *fakeRelayd) serve(c net.Conn) {
	defer c.Close()
	p := make([]byte, 8192)
	n, err := c.Read(p)
	if err != nil {
		return
	}
	text := string(p[:n])
	if !loginMicroseconds.MatchString(text) {
		text = "without LOGIN_US: " + text
	}
	r.messages <- loginMicroseconds.ReplaceAllString(text, "")
	for _, answer := range r.answers {
		if _, err := c.Write([]byte(answer)); err != nil {
			return
		}
		if n, err := c.Read(p); err != nil || n == 0 {
			return
		}
	}
}

// all returns what has come, up to n messages, and a further one if there is one too many.
func (r *fakeRelayd) all(n int) (got []string) {
	for range n + 1 {
		wait := 5 * time.Second
		if len(got) >= n {
			wait = 50 * time.Millisecond
		}
		select {
		case m := <-r.messages:
			got = append(got, m)
		case <-time.After(wait):
		}
	}
	return got
}

// Each login that becomes no session of relayd's is one message, whatever became of it.
func TestReportLogin(t *testing.T) {
	t.Parallel()
	rejected := &login.RejectedError{Step: mailhost.StepPassword, Answer: login.Answer{Text: "no"}}
	for _, test := range []struct {
		name    string
		options string
		c       *Credentials
		err     error // of the auth module
		want    string
	}{
		{"wrong password", "", password("bob", "x"), nil, "MAILHOST=\nPROTOCOL=IMAP\nRESULT=refused\n\n"},
		{"no auth module", "", password("bob", "secret"), errors.New("down"), "MAILHOST=\nPROTOCOL=IMAP\nRESULT=temporary\n\n"},
		{"disabled", "disableimap=1", password("bob", "secret"), nil, "MAILHOST=\nPROTOCOL=IMAP\nRESULT=disabled\n\n"},
		{"here", "mailhost=proxy.example.com", password("bob", "secret"), nil, "MAILHOST=\nPROTOCOL=IMAP\nRESULT=local\n\n"},
		{"bad option", "mailhost=a/b", password("bob", "secret"), nil, "MAILHOST=\nPROTOCOL=IMAP\nRESULT=temporary\n\n"},
		{"no such name", "mailhost=nowhere", password("bob", "secret"), nil,
			"FAILED=nowhere/resolve\nMAILHOST=nowhere\nPROTOCOL=IMAP\nRESULT=temporary\n\n"},
		{"nobody listens", "mailhost=down", password("bob", "secret"), nil,
			"FAILED=down/connect,down/connect\nMAILHOST=down\nPROTOCOL=IMAP\nRESULT=temporary\n\n"},
		{"loop", "mailhost=192.0.2.1", password("bob", "secret"), nil,
			"FAILED=192.0.2.1/connect\nMAILHOST=192.0.2.1\nPROTOCOL=IMAP\nRESULT=temporary\n\n"},
		{"rejected by the second", "mailhost=down;no;yes", password("bob", "secret"), nil,
			"FAILED=down/connect,down/connect,no/rejected\nMAILHOST=no\nPROTOCOL=IMAP\nRESULT=temporary\n\n"},
		{"broken", "mailhost=broken", password("bob", "secret"), nil,
			"FAILED=broken/greeting\nMAILHOST=broken\nPROTOCOL=IMAP\nRESULT=temporary\n\n"},
	} {
		r := newFakeRelayd(t)
		w := newWorld(t, imap, "IMAP_PROXY=1", "RELAY_SOCKET="+r.path)
		w.account("bob", test.options)
		w.auth.err = test.err
		w.hosts = map[string][]string{"down": {"127.0.0.8", "127.0.0.9"}, "no": {"127.0.0.2"}, "yes": {"127.0.0.3"}, "broken": {"127.0.0.4"}}
		w.servers["127.0.0.2:143"], w.servers["127.0.0.3:143"] = says(rejected), says(nil)
		w.servers["127.0.0.4:143"] = says(&mailhost.StepError{Step: mailhost.StepGreeting, Err: errors.New("gone")})
		_, _ = w.Login(t.Context(), test.c, "a1")
		if got := r.all(1); !slices.Equal(got, []string{"REPORT\n" + test.want}) {
			t.Errorf("%s:\n%q, want\n%q", test.name, got, test.want)
		}
	}
}

// A session tells relayd of its login. When relayd does not take it after all, a report follows, whether this
// process can go on with the session or not; when relayd refuses it, it has counted that.
func TestReportSession(t *testing.T) {
	t.Parallel()
	const ok = "REPORT\nFAILED=down/connect\nMAILHOST=up\nPROTOCOL=IMAP\nRESULT=ok\n\n"
	for _, test := range []struct {
		name    string
		answers []string
		reports []string
	}{
		{"taken", []string{"OK\n\n"}, nil},
		{"limit", []string{"LIMIT\nREASON=full house\n\n"}, nil},
		{"full", []string{"FULL\n\n"}, []string{ok}},
		{"in vain", []string{"FAIL\nREASON=no\n\n"}, []string{ok}},
	} {
		r := newFakeRelayd(t, test.answers...)
		w := newWorld(t, imap, "IMAP_PROXY=1", "RELAY_SOCKET="+r.path)
		w.account("bob", "mailhost=down;up")
		w.hosts = map[string][]string{"down": {"127.0.0.8"}, "up": {"127.0.0.2"}}
		w.servers["127.0.0.2:143"] = says(nil)
		w.DropRoot = func(string) error { return errors.New("not today") }
		o, err := w.Login(t.Context(), password("bob", "secret"), "a1")
		if err == nil {
			_ = w.Relay(context.Background(), o, "a1 OK\r\n")
		}
		got := r.all(1 + len(test.reports))
		session := regexp.MustCompile(`^CARRY\nFAILED=down/connect\n(.*\n)*MAILHOST=up\n`)
		if len(got) == 0 || !session.MatchString(got[0]) || !slices.Equal(got[1:], test.reports) {
			t.Errorf("%s: %q", test.name, got)
		}
	}
}

// Every login of a session is reported by itself.
func TestReportAgain(t *testing.T) {
	t.Parallel()
	r := newFakeRelayd(t)
	w := newWorld(t, pop3, "POP3_PROXY=1", "RELAY_SOCKET="+r.path)
	w.account("bob", "mailhost=nowhere")
	for _, word := range []string{"secret", "x"} {
		_, _ = w.Login(t.Context(), password("bob", word), "")
	}
	want := []string{
		"REPORT\nFAILED=nowhere/resolve\nMAILHOST=nowhere\nPROTOCOL=POP3\nRESULT=temporary\n\n",
		"REPORT\nMAILHOST=\nPROTOCOL=POP3\nRESULT=refused\n\n",
	}
	if got := r.all(2); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// A relayd that does not accept, and none at all, delay no login.
func TestReportToNobody(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("unixpacket", filepath.Join(t.TempDir(), "silent"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	start := time.Now()
	for _, socket := range []string{l.Addr().String(), filepath.Join(t.TempDir(), "none"), ""} {
		w := newWorld(t, imap, "RELAY_SOCKET="+socket)
		if _, err := w.Login(t.Context(), password("bob", "x"), "a1"); !errors.Is(err, ErrRefused) {
			t.Error(err)
		}
	}
	if took := time.Since(start); took > time.Second {
		t.Errorf("it took %v", took)
	}
}
