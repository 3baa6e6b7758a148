// Package silent measures what clients that say nothing cost the others: logins at a resident front end, with
// and without thousands of connections that have not logged in and never will.
package silent

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
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

// size says how much is measured.
type size struct{ silent, logins int }

func BenchmarkSilent(b *testing.B) {
	without, with := run(b, os.Stdout, size{silent: 9000, logins: 4000})
	if with > goal*without {
		b.Errorf("p99 is %.2f ms with silent clients, %.2f ms without", with, without)
	}
}

// The tool itself works.
func TestTool(t *testing.T) { run(t, io.Discard, size{silent: 50, logins: 50}) }

// run prints the median and the slowest hundredth of the logins, and returns the latter in milliseconds.
func run(t testing.TB, out io.Writer, n size) (without, with float64) {
	harness.Userdb(t, harness.Account{Name: "u", Password: "pw", Options: "mailhost=127.0.0.9"})
	harness.CourierAuthdaemond(t, "authuserdb", nil)
	harness.NewFakeMailhost(t, "127.0.0.9:143", mailhost)
	cmd := exec.Command(harness.PlainBin(t, "imapd-proxy"), "-user", "courier", "-listen", at)
	cmd.Env = []string{"IMAP_PROXY=1", "LOGIN_TIMEOUT=3600", "RELAY_SOCKET=", "PATH=/usr/bin:/bin"}
	front := harness.Start(t, cmd)
	if !harness.Eventually(func() bool { return front.Ended() || harness.Listening(t, at) }) || front.Ended() {
		t.Fatalf("it does not listen:\n%s", front.Log)
	}
	logins(t, n.logins/4) // not counted
	alone := turns(t, n.logins)
	for range n.silent {
		conn := dial(t)
		t.Cleanup(func() { conn.Close() })
		if _, err := conn.Read(make([]byte, 512)); err != nil {
			t.Fatal(err)
		}
	}
	beside := turns(t, n.logins)
	without, with = alone.p99, beside.p99
	fmt.Fprintf(out, "\n### Time of a login with %d clients\n\n| | median, ms | p99, ms |\n|---|---|---|\n",
		clients)
	fmt.Fprintf(out, "| alone | %.2f | %.2f |\n", alone.median, without)
	fmt.Fprintf(out, "| beside %d silent ones | %.2f | %.2f |\n", n.silent, beside.median, with)
	return without, with
}

// result is the time of logins, in milliseconds.
type result struct{ median, p99 float64 }

// turns logs in n times, and returns the medians over five parts of that: whatever else the machine does
// spoils the slowest hundredth of one of them.
func turns(t testing.TB, n int) result {
	t.Helper()
	var median, p99 []float64
	for range 5 {
		all := logins(t, n/5)
		median = append(median, measure.Median(all))
		p99 = append(p99, measure.Percentile(all, 99))
	}
	return result{measure.Median(median), measure.Median(p99)}
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

func dial(t testing.TB) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	return conn
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
