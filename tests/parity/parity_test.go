// Package parity asks Courier's login programs and ours the same things, under the same launcher and with the same auth
// daemon, mailhost and local server, and compares what they say and what they log.
//
// A transcript in testdata is played against both. Where they differ on purpose it has a ${variable}, and the table of
// variables in the test is the list of those differences, each with its reason. What is not in a table is equal.
//
// Not tested here: input that Courier can not stand (a NUL hangs it, a line over 8 KB mixes its buffers), TLS, and time
// limits; see the dialogues' own tests and tests/tls.
package parity

import (
	"flag"
	"fmt"
	"net"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"mailproxy/tests/harness"
	"mailproxy/tests/transcript"
)

func TestMain(m *testing.M) {
	// Most of the time is spent waiting for the answers to failed logins.
	flag.Set("test.parallel", "40")
	os.Exit(harness.Main(m))
}

// difference is something that the two programs do not do alike.
type difference struct {
	courier, ours string
	why           string
}

// twin is one of the two programs.
type twin struct {
	name    string
	addr    string // address and port
	process *harness.Process
	vars    map[string]string
}

// vars returns the side of the table that is Courier's or ours.
func vars(table map[string]difference, ours bool) map[string]string {
	values := map[string]string{}
	for name, d := range table {
		values[name] = d.courier
		if ours {
			values[name] = d.ours
		}
	}
	return values
}

// result is what came of one transcript.
type result struct {
	err error
	log []string
}

// play plays a transcript, and returns the lines of the log that are about its connection, without what is different each
// time. Log lines are waited for until one begins with "last".
func (w *twin) play(t *testing.T, script *transcript.Script, funcs map[string]func(map[string]string) (string, error), last string) result {
	t.Helper()
	conn, err := net.Dial("tcp", w.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	mine := map[string]string{}
	for name, value := range w.vars {
		mine[name] = value
	}
	r := &transcript.Runner{Conn: conn, Vars: mine, Funcs: funcs}
	err = r.Play(script)
	conn.Close()
	_, port, _ := net.SplitHostPort(conn.LocalAddr().String())
	var lines []string
	for range 200 {
		lines = w.lines(port)
		if slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, last) }) {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	return result{err, lines}
}

var varying = regexp.MustCompile(`\b(time|rcvd|sent|top|retr)=\d+`)

func (w *twin) lines(port string) []string {
	var lines []string
	mark := fmt.Sprintf("port=[%s]", port)
	for _, l := range w.process.Log.Lines() {
		if strings.Contains(l, mark) {
			lines = append(lines, varying.ReplaceAllString(strings.ReplaceAll(l, mark, "port=[N]"), "$1=N"))
		}
	}
	return lines
}

// compare plays the transcripts against both programs at once. tolerated says which log lines may be in one log only.
func compare(t *testing.T, courier, ours *twin, pattern string, funcs map[string]func(map[string]string) (string, error), tolerated []*regexp.Regexp) {
	for _, script := range transcript.Files(t, pattern) {
		t.Run(script.Name, func(t *testing.T) {
			t.Parallel()
			var results [2]result
			done := make(chan bool)
			for i, w := range []*twin{courier, ours} {
				go func() {
					defer func() { done <- true }()
					results[i] = w.play(t, script, funcs, "DEBUG: Disconnected")
				}()
			}
			<-done
			<-done
			for i, w := range []*twin{courier, ours} {
				if results[i].err != nil {
					t.Errorf("%s: %v", w.name, results[i].err)
				}
			}
			a, b := without(results[0].log, tolerated), without(results[1].log, tolerated)
			if !slices.Equal(a, b) {
				t.Errorf("log of Courier:\n  %s\nof ours:\n  %s", strings.Join(a, "\n  "), strings.Join(b, "\n  "))
			}
		})
	}
}

func without(lines []string, tolerated []*regexp.Regexp) []string {
	return slices.DeleteFunc(lines, func(l string) bool {
		return slices.ContainsFunc(tolerated, func(r *regexp.Regexp) bool { return r.MatchString(l) })
	})
}
