package fronttest

import (
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"hash"
	"io"
	"maps"
	"net"
	"regexp"
	"strings"
	"testing"
	"time"

	"mailproxy/tests/transcript"
)

// Transcripts plays testdata/FILE.txt, each dialogue all at once and byte by byte. No password may be in
// the log.
func (f *Front) Transcripts(t *testing.T, file string, settings map[string]string) {
	for _, script := range transcript.Files(t, "testdata/"+file+".txt") {
		for _, dribble := range []time.Duration{0, time.Microsecond} {
			t.Run(fmt.Sprintf("%s/%s/%s", file, script.Name, dribble), func(t *testing.T) {
				t.Parallel()
				s := f.Begin(t, Options{Settings: settings})
				r := &transcript.Runner{Conn: s.Conn, Dribble: dribble, Funcs: answers()}
				if err := r.Play(script); err != nil {
					t.Fatalf("%v\n--- log:\n%s", err, s.Log)
				}
				s.Wait(t)
				if strings.Contains(s.Log.String(), "sec ret") || strings.Contains(s.Log.String(), "geheim") {
					t.Errorf("a password is in the log:\n%s", s.Log)
				}
			})
		}
	}
}

// answers are the answers to ${challenge}, those of CRAM with ann's password.
func answers() map[string]func(map[string]string) (string, error) {
	m := map[string]func(map[string]string) (string, error){
		"cram_md5": cram(md5.New), "cram_sha1": cram(sha1.New), "cram_sha256": cram(sha256.New),
	}
	maps.Copy(m, scramAnswers())
	return m
}

func cram(h func() hash.Hash) func(map[string]string) (string, error) {
	return func(vars map[string]string) (string, error) {
		challenge, err := base64.StdEncoding.DecodeString(vars["challenge"])
		mac := hmac.New(h, []byte("sec ret"))
		mac.Write(challenge)
		return base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "ann %x", mac.Sum(nil))), err
	}
}

// Where is what every line of a session's log says about the client.
const Where = "ip=[" + clientIP + "], port=[4711]"

var seconds = regexp.MustCompile(`\btime=\d+`)

// LogCase is a dialogue and the log that it leaves.
type LogCase struct {
	Name, Text string
	Log        []string // without the first line
	Status     int      // what Session.Wait returns
}

// Logs plays the dialogues and compares the logs to the letter.
func (f *Front) Logs(t *testing.T, cases []LogCase) {
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			s := f.Begin(t, Options{})
			transcript.Play(t, s.Conn, c.Text)
			if status := s.Wait(t); status != c.Status {
				t.Errorf("status %d, want %d", status, c.Status)
			}
			want := strings.Join(append([]string{"DEBUG: Connection, " + Where}, c.Log...), "\n") + "\n"
			// A busy machine may take a second where nothing is waited for.
			if log := seconds.ReplaceAllString(s.Log.String(), "time=0"); log != want {
				t.Errorf("log\n%swant\n%s", log, want)
			}
		})
	}
}

// Mailhost returns a mailhost that holds the dialogue in text, and then reads what comes until the end.
func Mailhost(t testing.TB, text string) func(conn *net.UnixConn) {
	t.Helper()
	script := transcript.MustParse(t, text)[0]
	return func(conn *net.UnixConn) {
		r := &transcript.Runner{Conn: conn, As: transcript.Server}
		if err := r.Play(script); err != nil {
			t.Error(err)
		}
		io.Copy(io.Discard, r.Buffered())
	}
}

// Say lets the client send all of said and no more, and returns all that it is told until the session has
// ended. Every line of the log must then be one of ours.
func (s *Session) Say(t testing.TB, said []byte) string {
	t.Helper()
	go func() {
		s.Conn.Write(said)
		s.Conn.CloseWrite()
	}()
	answer, _ := io.ReadAll(s.Conn)
	s.Wait(t)
	for l := range strings.SplitSeq(strings.TrimSuffix(s.Log.String(), "\n"), "\n") {
		level, _, ok := strings.Cut(l, ": ")
		if !ok || !strings.Contains("DEBUG INFO WARN ERR", level) || strings.ContainsAny(l, "\r\x00\x1b") {
			t.Errorf("log line %q", l)
		}
	}
	return string(answer)
}

// LastReply has a client send all that it will say, and more than is read at a time, before it reads. A
// connection that is closed with unread bytes in it is reset, by which the client may lose the last reply.
func (f *Front) LastReply(t *testing.T, said, last string) {
	t.Helper()
	s := f.Begin(t, Options{})
	if _, err := io.WriteString(s.Conn, said+strings.Repeat("nothing\r\n", 1000)); err != nil {
		t.Fatal(err)
	}
	if answer, err := io.ReadAll(s.Conn); err != nil || !strings.HasSuffix(string(answer), last+"\r\n") {
		t.Errorf("%v; the answer ends with %q", err, answer[max(0, len(answer)-100):])
	}
	s.Conn.Close()
	s.Wait(t)
}

// Repeat writes what a client says over and over, until the connection is closed.
func (s *Session) Repeat(text string) {
	for {
		if _, err := io.WriteString(s.Conn, text); err != nil {
			return
		}
		time.Sleep(50 * time.Millisecond) // the pace of a client that is never silent
	}
}
