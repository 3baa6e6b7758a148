// Package silent measures what clients that say nothing cost the others: logins at a resident front end, with
// and without thousands of connections that have not logged in and never will.
package silent

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"mailproxy/tests/bench/measure"
	"mailproxy/tests/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

const (
	at      = "127.0.1.1:143"
	clients = 8 // that log in at the same time
	// goal is how many times as long the slowest logins may take.
	goal = 2
)

// size says how much is measured: logins of one turn, turns of each kind.
type size struct{ silent, logins, turns int }

func BenchmarkSilent(b *testing.B) {
	for b.Loop() {
		if p99 := run(b, os.Stdout, size{silent: 9500, logins: 1600, turns: 9}); p99 > goal {
			b.Errorf("p99 of the logins is %.2f times as long beside silent clients", p99)
		}
	}
}

// The tool itself works.
func TestTool(t *testing.T) { run(t, io.Discard, size{silent: 50, logins: 40, turns: 1}) }

// run prints how long logins take, the median and the slowest hundredth, and returns the ratio of the latter.
// The silent clients come and go with each of their turns.
func run(t testing.TB, out io.Writer, n size) (p99 float64) {
	harness.Userdb(t, harness.Account{Name: "u", Password: "pw", Options: "mailhost=127.0.0.9"})
	harness.CourierAuthdaemond(t, "authuserdb", nil)
	harness.NewFakeMailhost(t, "127.0.0.9:143", mailhost)
	env := harness.Env{"IMAP_PROXY": "1", "LOGIN_TIMEOUT": "3600", "RELAY_SOCKET": ""}
	harness.StartResident(t, harness.PlainBin(t, "imapd-proxy"), env, nil, at)
	names := []string{"alone", fmt.Sprintf("beside %d silent ones", n.silent)}
	medians := make([]measure.Series, len(names))
	slowest := measure.Alternate(n.turns, names, func(candidate int) float64 {
		if candidate == 1 {
			defer silence(t, n.silent)()
		}
		all := logins(t, n.logins)
		medians[candidate].Values = append(medians[candidate].Values, measure.Median(all))
		return measure.Percentile(all, 99)
	})
	for i, name := range names {
		medians[i].Name, medians[i].Values = name, medians[i].Values[1:] // the first turn does not count
	}
	measure.Print(out, fmt.Sprintf("Time of a login with %d clients, median", clients), "ms", 0, medians)
	measure.Print(out, "The slowest hundredth (p99)", "ms", goal, slowest)
	return slowest[1].Ratio(slowest[0])
}

// silence has n clients connect and say nothing until they are called off.
func silence(t testing.TB, n int) (end func()) {
	t.Helper()
	conns := make([]net.Conn, n)
	for i := range conns {
		conns[i] = harness.Connect(t, at)
		if _, err := conns[i].Read(make([]byte, 512)); err != nil {
			t.Fatal(err)
		}
	}
	return func() {
		for _, c := range conns {
			c.Close()
		}
	}
}

// logins logs in and out n times, and returns how long each login took from connecting on, in milliseconds.
func logins(t testing.TB, n int) []float64 {
	t.Helper()
	times := make([][]float64, clients)
	failed := make(chan error, clients)
	var wg sync.WaitGroup
	for i := range times {
		wg.Go(func() {
			for range max(n/clients, 1) {
				took, err := login()
				if err != nil {
					failed <- err
					return
				}
				times[i] = append(times[i], float64(took)/float64(time.Millisecond))
			}
		})
	}
	wg.Wait()
	select {
	case err := <-failed:
		t.Fatal(err)
	default:
	}
	var all []float64
	for _, some := range times {
		all = append(all, some...)
	}
	return all
}

func login() (time.Duration, error) {
	start := time.Now()
	conn, err := net.Dial("tcp", at)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	in := bufio.NewReader(conn)
	if _, err := in.ReadString('\n'); err != nil {
		return 0, err
	}
	if _, err := io.WriteString(conn, "a LOGIN u pw\r\n"); err != nil {
		return 0, err
	}
	for {
		line, err := in.ReadString('\n')
		switch {
		case err != nil:
			return 0, err
		case strings.HasPrefix(line, "a OK"):
			return time.Since(start), nil
		case strings.HasPrefix(line, "a "):
			return 0, fmt.Errorf("login: %q", line)
		}
	}
}

// mailhost takes every login.
func mailhost(c net.Conn) error {
	fmt.Fprintf(c, "* OK [CAPABILITY IMAP4rev1] hello\r\n")
	in := bufio.NewReader(c)
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return nil
		}
		if tag, _, _ := strings.Cut(line, " "); tag != "" {
			fmt.Fprintf(c, "%s OK done\r\n", tag)
		}
	}
}
