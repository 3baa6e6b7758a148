package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"mailproxy/relay/handoff"
)

var update = flag.Bool("update", false, "write the golden files anew")

// fake is a program that answers questions by verb.
type fake map[string]string

// listen has a fake answer at a socket of its own.
func (f fake) listen(t *testing.T, name string) (option string) {
	t.Helper()
	return listen(t, name, func(c *net.UnixConn, m *handoff.Message) {
		_ = handoff.SendText(c, []byte(f[m.Verb]))
	})
}

func listen(t *testing.T, name string, with func(*net.UnixConn, *handoff.Message)) (option string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Net: "unixpacket", Name: path})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	answer(l, with)
	return "-socket=" + name + "=" + path
}

// answer answers every question with a function.
func answer(l *net.UnixListener, with func(*net.UnixConn, *handoff.Message)) {
	go func() {
		for {
			c, err := l.AcceptUnix()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				m, fds, err := handoff.Receive(c)
				handoff.CloseAll(fds)
				if err == nil {
					with(c, m)
				}
			}()
		}
	}()
}

// call runs the program at a fixed time.
func call(width int, args ...string) (stdout, stderr string, status int) {
	var out, err bytes.Buffer
	now := func() time.Time { return time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC) }
	status = run(context.Background(), args, now, width, &out, &err)
	return out.String(), err.String(), status
}

var (
	relaydSays = fake{
		handoff.Who: "ann@example.com\t[::ffff:192.0.2.7]:4711\tIMAP\tmail1\t2026-11-26T11:59:30Z\t523\t1234567\n" +
			"a.very.long.name.of.somebody@subdomain.example.com\t[2001:db8:1:2:3:4:5:6]:50000\tPOP3\t" +
			"mailhost-with-a-long-name.example.com\t2026-11-20T10:00:00Z\t98765\t12345678901\n",
		handoff.Kick: "2\n",
		handoff.Stats: "# TYPE mailproxy_sessions gauge\nmailproxy_sessions 2\nmailproxy_relayd_sessions 2\n" +
			"mailproxy_relayd_full_total 1\n" +
			"mailproxy_logins_total{protocol=\"imap\",result=\"ok\",mailhost=\"mail1\"} 17\n" +
			"mailproxy_logins_total{protocol=\"imap\",result=\"refused\",mailhost=\"\"} 3\n" +
			"mailproxy_mailhost_failures_total{mailhost=\"mail2\",step=\"connect\"} 5\n" +
			"mailproxy_login_seconds_bucket{protocol=\"imap\",result=\"ok\",le=\"0.001\"} 1\n" +
			"mailproxy_login_seconds_sum{protocol=\"imap\",result=\"ok\"} 1.25\n",
	}
	imapSays = fake{
		handoff.Who:  "bob\t[192.0.2.8]:1\tIMAP\tMail1.\t2026-11-26T09:55:00Z\t10\t20000\n",
		handoff.Kick: "1\n",
		handoff.Stats: "mailproxy_sessions 1\n" +
			"mailproxy_logins_total{protocol=\"imap\",result=\"ok\",mailhost=\"mail1\"} 4\n" +
			"mailproxy_logins_total{protocol=\"imap\",result=\"temporary\",mailhost=\"mail2\"} 9\n" +
			"mailproxy_mailhost_address_down{mailhost=\"mail2\",address=\"192.0.2.2:143\"} 1\n" +
			"mailproxy_mailhost_address_down_since_seconds{mailhost=\"mail2\",address=\"192.0.2.2:143\"}" +
			" 1795694100\n" +
			"mailproxy_mailhost_address_turned_away{mailhost=\"mail2\",address=\"192.0.2.2:143\"} 41\n" +
			"mailproxy_mailhost_address_down{mailhost=\"mail2\",address=\"192.0.2.1:143\"} 0\n" +
			"mailproxy_mailhost_address_logins{mailhost=\"mail2\",address=\"192.0.2.1:143\"} 7\n",
	}
)

// TestGolden: tables of 80 and of 200 columns, and JSON, of two programs that answer and one that is not
// there.
func TestGolden(t *testing.T) {
	sockets := []string{relaydSays.listen(t, "relayd"), imapSays.listen(t, "imapd-proxy"),
		"-socket=pop3d-proxy=/nonexistent/s"}
	for _, tc := range []struct {
		name  string
		width int
		args  []string
	}{
		{"who", 80, []string{"who"}}, {"who-wide", 200, []string{"who"}}, {"who-narrow", 30, []string{"who"}},
		{"kick", 80, []string{"kick", "ann@example.com"}},
		{"stats", 80, []string{"stats"}}, {"mailhosts", 80, []string{"mailhosts"}},
		{"who-json", 80, []string{"who", "-json"}}, {"kick-json", 80, []string{"--json", "kick", "ann"}},
		{"stats-json", 80, []string{"stats", "--json"}}, {"mailhosts-json", 80, []string{"-json", "mailhosts"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			out, stderr, status := call(tc.width, append(sockets, tc.args...)...)
			if status != exitOK {
				t.Fatalf("exit status %d: %s", status, stderr)
			}
			if note := strings.Contains(stderr, "are not seen here"); note != (tc.args[0] != "stats") {
				t.Errorf("stderr: %q", stderr)
			}
			if strings.Contains(tc.name, "json") {
				if !json.Valid([]byte(out)) {
					t.Errorf("no JSON")
				}
				for i, s := range sockets {
					_, path, _ := strings.Cut(strings.TrimPrefix(s, "-socket="), "=")
					out = strings.ReplaceAll(out, path, "SOCKET"+string(rune('1'+i)))
				}
			} else if tc.width >= 80 {
				for line := range strings.Lines(out) {
					if len([]rune(line)) > tc.width+1 {
						t.Errorf("longer than %d: %q", tc.width, line)
					}
				}
			}
			golden(t, tc.name, out)
		})
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s:\n%s\nnot\n%s", file, got, want)
	}
}

// TestMissing: all sockets missing is an error; one that nobody listens on counts as missing.
func TestMissing(t *testing.T) {
	dead := filepath.Join(t.TempDir(), "dead")
	l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Net: "unixpacket", Name: dead})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	for _, command := range [][]string{{"who"}, {"kick", "ann"}, {"stats"}, {"mailhosts"}, {"who", "-json"}} {
		args := append([]string{"-socket", "/nonexistent/a/s", "-socket", dead}, command...)
		out, stderr, status := call(80, args...)
		if status != exitSystem || out != "" || !strings.Contains(stderr, "answers at /nonexistent/a/s, "+dead) {
			t.Errorf("%s: %d, %q, %q", command, status, out, stderr)
		}
		args = append([]string{relaydSays.listen(t, "relayd")}, args...)
		if out, stderr, status := call(80, args...); status != exitOK || out == "" {
			t.Errorf("%s with relayd: %d, %q, %q", command, status, out, stderr)
		}
	}
}

// TestHostile: what a program says that is none of ours is neither shown nor believed, nor waited for; the
// answers of others are shown.
func TestHostile(t *testing.T) {
	text := func(answer string) func(*net.UnixConn, *handoff.Message) {
		return func(c *net.UnixConn, _ *handoff.Message) { _ = handoff.SendText(c, []byte(answer)) }
	}
	const listed = "\t[192.0.2.8]:1\tIMAP\tmail1\t2026-11-26T09:55:00Z\t10\t20000\n"
	for _, tc := range []struct {
		name, want string
		answer     func(*net.UnixConn, *handoff.Message)
	}{
		{"escape sequences", "cannot be shown", text("a\x1b]0;x\x07" + listed)},
		{"C1 controls", "cannot be shown", text("a\u009b2J" + listed)},
		{"not UTF-8", "cannot be shown", text("a\xff" + listed)},
		{"half a line", "a session of 1 fields", text("ann")},
		{"huge", "the answer is too long", func(c *net.UnixConn, _ *handoff.Message) {
			m := &handoff.Message{Verb: "TEXT", Body: bytes.Repeat([]byte("x\n"), 50_000)}
			for handoff.Send(c, m) == nil {
			}
		}},
		{"silent", "no answer: context deadline exceeded", func(c *net.UnixConn, _ *handoff.Message) {
			_, _ = io.Copy(io.Discard, c)
		}},
		{"closes", "closed the connection", func(*net.UnixConn, *handoff.Message) {}},
		{"another verb", `the answer is FAIL \033[2J`, func(c *net.UnixConn, _ *handoff.Message) {
			_ = handoff.Send(c, &handoff.Message{Verb: "FAIL", Fields: map[string]string{"REASON": "\x1b[2J"}})
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			timeout := "-timeout=2m"
			if tc.name == "silent" {
				timeout = "-timeout=3s" // the other one has to answer meanwhile
			}
			bad := listen(t, "bad", tc.answer)
			out, stderr, status := call(80, timeout, bad, imapSays.listen(t, "good"), "who")
			if status != exitSystem || !strings.Contains(out, "\nbob ") || strings.Count(out, "\n") != 2 ||
				!strings.Contains(stderr, "mailproxyctl: bad: ") || !strings.Contains(stderr, tc.want) {
				t.Errorf("%d, %q, %q", status, out, stderr)
			}
			if strings.ContainsAny(out+stderr, "\x1b\x07\u009b") || !utf8.ValidString(out+stderr) {
				t.Errorf("%q, %q", out, stderr)
			}
			if tc.name == "silent" {
				timeout = "-timeout=200ms"
			}
			out, stderr, status = call(80, timeout, bad, "who")
			if status != exitSystem || out != "" || !strings.Contains(stderr, tc.want) {
				t.Errorf("alone: %d, %q, %q", status, out, stderr)
			}
		})
	}
}

// TestHostileNumbers: answers to kick and stats.
func TestHostileNumbers(t *testing.T) {
	for _, answer := range []string{"", "-1\n", "many\n", "1\n2\n", "99999999999999999999\n"} {
		out, stderr, status := call(80, fake{handoff.Kick: answer}.listen(t, "bad"), "kick", "ann")
		if status != exitSystem || out != "" || !strings.Contains(stderr, "no number of sessions") {
			t.Errorf("kick: %q: %d, %q, %q", answer, status, out, stderr)
		}
	}
	for _, answer := range []string{"a", "a b", "a NaN", "a +Inf", "{x=\"\"} 1", "a{x=\"} 1", "a{x=`y`} 1",
		"a{x='y'} 1", "a{x=\"y\"z=\"\"} 1", "a{x=\"y\",x=\"z\"} 1", "a{x=\"y\" 1", "a\x1b 1", "a 1 2",
		"a{x=\"y\n\"} 1", "a{x", "a{x="} {
		for _, command := range []string{"stats", "mailhosts"} {
			out, stderr, status := call(80, fake{handoff.Stats: answer}.listen(t, "bad"), command)
			if status != exitSystem || out != "" || !strings.Contains(stderr, errSample.Error()) {
				t.Errorf("%s: %q: %d, %q, %q", command, answer, status, out, stderr)
			}
		}
	}
}

// TestStranger: a program of another user's is not asked.
func TestStranger(t *testing.T) {
	l, path := listenAs(t, 65534)
	asked := make(chan struct{}, 10)
	answer(l, func(*net.UnixConn, *handoff.Message) { asked <- struct{}{} })
	option := "-socket=stranger=" + path
	out, stderr, status := call(80, option, "who")
	if status != exitSystem || out != "" || !strings.Contains(stderr, "who listens: user 65534") {
		t.Errorf("%d, %q, %q", status, out, stderr)
	}
	select {
	case <-asked:
		t.Error("it was asked")
	default:
	}
	if _, stderr, status := call(80, option, "-user=65534", "-timeout=1m", "who"); status != exitSystem ||
		!strings.Contains(stderr, "closed the connection") {
		t.Errorf("a user that is trusted: %d, %q", status, stderr)
	}
}

func TestArguments(t *testing.T) {
	for _, args := range [][]string{{}, {"dance"}, {"who", "x"}, {"kick"}, {"kick", ""}, {"kick", "a", "b"},
		{"-bad", "who"}, {"kick", "a\nb"}, {"-timeout", "0", "who"}, {"-socket", "", "who"},
		{"-socket", "x=", "who"}, {"version", "x"}} {
		out, stderr, status := call(80, args...)
		if status != exitUsage || out != "" || stderr == "" || strings.ContainsAny(stderr, "\x1b") {
			t.Errorf("%q: %d, %q, %q", args, status, out, stderr)
		}
	}
	if out, _, status := call(80, "version"); status != exitOK || !strings.HasPrefix(out, "mailproxyctl ") {
		t.Errorf("version: %d, %q", status, out)
	}
	const socket = "/run/mailproxy/relayd/socket"
	c, err := parse([]string{"-socket", socket, "kick", "-json", "ann", "-user", "a,b"}, io.Discard)
	if err != nil || c.sources[0] != (source{"relayd", socket}) || c.whom != "ann" || !c.json ||
		len(c.users) != 2 {
		t.Errorf("%+v, %v", c, err)
	}
	c, err = parse([]string{"kick", "--", "-ann"}, io.Discard)
	if err != nil || c.whom != "-ann" || len(c.sources) != 3 {
		t.Errorf("%+v, %v", c, err)
	}
}
