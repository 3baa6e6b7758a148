// Package parity asks Courier's login programs and ours the same things, under the same launcher and with the
// same authdaemond, mailhost and local server, and compares what they say and what they log.
//
// A transcript in testdata is played against both. Where they differ on purpose it has a ${variable}, and the
// table of variables in the test is the list of those differences, each with its reason. What is not in a
// table is equal.
//
// Not tested here: input that Courier cannot stand (a NUL hangs it, a line over 8 KB mixes its buffers),
// TLS, and time limits; see the dialogues' own tests and tests/tls.
package parity

import (
	"flag"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

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
	name string
	addr string // address and port
	log  *harness.Log
	vars map[string]string
	mode *harness.Mode // of ours
}

// twins starts Courier's program at 127.0.n.1, and ours in this mode, with the same settings, at 127.0.n.2.
func twins(t *testing.T, m *harness.Mode, n int, protocol harness.Protocol, env harness.Env,
	table map[string]difference) (theirs, ours *twin) {
	t.Helper()
	addr := func(last int) string { return fmt.Sprintf("127.0.%d.%d", n, last) }
	name, login := protocol.Name, protocol.CourierLogin
	p := m.Start(t, harness.ProxyOptions{Addr: addr(2), Protocols: []string{name}, Env: env, Bare: true})
	log := protocol.UnderCourier(t, addr(1), login, env).Log
	return &twin{filepath.Base(login), protocol.At(addr(1)), log, vars(table, false), nil},
		&twin{"ours", p.At(name), p.Log(name), vars(table, true), m}
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

// play plays a transcript, waits until the program has closed the connection, and returns the client's port,
// by which the lines of the log that are about it are found.
func (w *twin) play(t *testing.T, script *transcript.Script, funcs functions) (port string, err error) {
	t.Helper()
	conn, err := net.Dial("tcp", w.addr)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	r := &transcript.Runner{Conn: conn, Vars: maps.Clone(w.vars), Funcs: funcs}
	err = r.Play(script)
	conn.Close()
	client := conn.LocalAddr().(*net.TCPAddr).Port
	if !harness.Eventually(func() bool { return !harness.Serving(t, w.addr, uint16(client)) }) {
		t.Errorf("%s does not end the session", w.name)
	}
	return strconv.Itoa(client), err
}

// functions compute variables of a transcript.
type functions map[string]func(map[string]string) (string, error)

var varying = regexp.MustCompile(`\b(time|rcvd|sent|top|retr)=\d+`)

func (w *twin) lines(port string) []string {
	var lines []string
	mark := fmt.Sprintf("port=[%s]", port)
	for _, l := range w.log.Lines() {
		if strings.Contains(l, mark) {
			lines = append(lines, varying.ReplaceAllString(strings.ReplaceAll(l, mark, "port=[N]"), "$1=N"))
		}
	}
	if w.mode != nil && !w.mode.Launched() {
		slices.Sort(lines) // they come from two processes
	}
	return lines
}

// cannot says whether a transcript is about what this mode does not have: a resident front end has no
// password to say to PROXY_LOCAL when an account that is here logs in by CRAM and the auth module tells none.
func (w *twin) cannot(script *transcript.Script) bool {
	return !w.mode.Launched() && slices.Contains([]string{"CRAM-MD5", "CRAM-SHA1", "CRAM-SHA256"}, script.Name)
}

// compare plays the transcripts against both programs at once. tolerated says which log lines may be in one
// log only.
func compare(t *testing.T, courier, ours *twin, pattern string, funcs functions, tolerated []*regexp.Regexp) {
	for _, script := range transcript.Files(t, pattern) {
		if ours.cannot(script) {
			continue
		}
		t.Run(script.Name, func(t *testing.T) {
			t.Parallel()
			var port [2]string
			var both sync.WaitGroup
			for i, w := range []*twin{courier, ours} {
				both.Go(func() {
					var err error
					if port[i], err = w.play(t, script, funcs); err != nil {
						t.Errorf("%s: %v", w.name, err)
					}
				})
			}
			both.Wait()
			// The connection may be closed a moment before its last line is written.
			var a, b []string
			if !harness.Eventually(func() bool {
				a, b = without(courier.lines(port[0]), tolerated), without(ours.lines(port[1]), tolerated)
				if !ours.mode.Launched() {
					slices.Sort(a)
				}
				return slices.Equal(a, b)
			}) {
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
