// Package tls measures encrypted sessions against Courier's own programs under the same couriertcpd, with the
// timer slack that our units and recipes set, in the same run and alternating:
//
//	go test -run '^$' -bench . -benchtime 1x -v ./tests/bench/tls
//
// The sides: "ours" is imapd-proxy without relayd, "ours-relayd" with a relayd that keeps the sessions;
// "courier" has Debian's default settings, "courier-best" no CA bundle.
//
// CPU is that of the launcher with everything it started, exited children included, of orphans, and of
// relayd; clients, mailhost and authdaemond are not counted. Memory is private memory of the session's
// processes, with relayd what it has grown by since it idled with nobody. Results are medians of the rounds,
// as ratios too.
package tls

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"mailproxy/tests/bench/mailhost"
	"mailproxy/tests/bench/measure"
	"mailproxy/tests/harness"
	"mailproxy/tests/testcert"
)

func TestMain(m *testing.M) {
	if mailhost.Started() {
		os.Exit(mailhost.Run())
	}
	os.Exit(harness.Main(m))
}

// side is one of the set-ups that are compared.
type side struct {
	name  string
	addr  string
	front *harness.Process
	comms []string // its session processes, as the kernel names them
	idle  int      // sessions whose memory is measured

	relayd *harness.Service
	empty  float64 // KiB of relayd before the sessions
}

// bundle is Courier's default for TLS_TRUSTCERTS, which it loads for each session.
const bundle = "/etc/ssl/certs/ca-certificates.crt"

// world starts authdaemond, a mailhost that does nothing but play its part, and the sides with one
// certificate for all.
func world(b *testing.B, rsa, cache bool) []*side {
	b.Helper()
	dir := harness.Dir(b)
	cert := testcert.Write(b, filepath.Join(dir, "cert.pem"),
		testcert.CA(b, "CA").Issue(b, testcert.Spec{Name: "bench.example", RSA: rsa}).PEM(b))
	harness.Userdb(b, harness.Account{Name: "u", Password: "pw", Options: "mailhost=127.0.0.9"})
	harness.CourierAuthdaemond(b, "authuserdb", nil)
	mailhost.Start(b, "127.0.0.9")
	start := func(s side, trust string, more harness.Env, program ...string) *side {
		env := harness.Env{
			"TLS_CERTFILE": cert, "TLS_TRUSTCERTS": trust, "TLS_VERIFYPEER": "NONE", "TLS_CACHEFILE": "",
			"IMAP_TLS": "1", "IMAP_STARTTLS": "NO", "IMAP_PROXY": "1",
		}
		if cache {
			env["TLS_CACHEFILE"], env["TLS_CACHESIZE"] = filepath.Join(dir, "cache."+s.addr), "524288"
		}
		maps.Copy(env, more)
		measure.WithTimerSlack(b, func() {
			s.front = harness.Couriertcpd(b, harness.TCPD{Addr: s.addr, Port: 993, Config: "imapd", Env: env,
				Program: append(program, harness.CourierIMAPD, "Maildir")})
		})
		return &s
	}
	own := []string{"imapd-proxy"}
	couriers := []string{"couriertls", "imaplogin"}
	couriertls := []string{"/usr/bin/couriertls", "-server", "-tcpd", "-user=courier", harness.CourierIMAPLogin}
	var relayd *harness.Service
	measure.WithTimerSlack(b, func() { relayd = harness.PlainRelayd(b) })
	sides := []*side{
		start(side{name: "ours", addr: "127.0.1.1", comms: own, idle: idle}, bundle, nil,
			harness.PlainBin(b, "imapd-proxy")),
		start(side{name: "ours-relayd", addr: "127.0.1.5", comms: own, idle: idleRelayd, relayd: relayd}, bundle,
			harness.Env{"RELAY_SOCKET": relayd.Socket}, harness.PlainBin(b, "imapd-proxy")),
		start(
			side{name: "courier", addr: "127.0.1.2", comms: couriers, idle: idle},
			bundle,
			nil,
			slices.Clone(couriertls)...),
		start(
			side{name: "courier-best", addr: "127.0.1.3", comms: couriers, idle: idle},
			"",
			nil,
			slices.Clone(couriertls)...),
	}
	return sides
}

// login makes a session. greeting is the time from connecting to the greeting.
func (s *side) login(b *testing.B, cfg *tls.Config) (c *tls.Conn, in *bufio.Reader, greeting time.Duration) {
	b.Helper()
	start := time.Now()
	c, err := tls.Dial("tcp", s.addr+":993", cfg)
	if err != nil {
		b.Fatalf("%s: %v\n%s", s.name, err, s.front.Log)
	}
	c.SetDeadline(time.Now().Add(2 * time.Minute))
	in = bufio.NewReaderSize(c, 256<<10)
	if _, err := in.ReadString('\n'); err != nil {
		b.Fatalf("%s: %v", s.name, err)
	}
	greeting = time.Since(start)
	s.ask(b, c, in, "a LOGIN u pw")
	return c, in, greeting
}

// ask sends a command and waits for its OK.
func (s *side) ask(b *testing.B, c net.Conn, in *bufio.Reader, command string) {
	b.Helper()
	fmt.Fprintf(c, "%s\r\n", command)
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			b.Fatalf("%s: %s: %v\n%s", s.name, command, err, s.front.Log)
		}
		if strings.HasPrefix(line, command[:1]+" OK") {
			return
		}
	}
}

func (s *side) logout(c *tls.Conn) {
	fmt.Fprintf(c, "z LOGOUT\r\n")
	io.Copy(io.Discard, c)
	c.Close()
}

// cpu is the launcher's time so far with all that has ended below it, of orphans, which process 1 reaps, and
// relayd's.
func (s *side) cpu(b *testing.B) time.Duration {
	b.Helper()
	return ticks(b, s.front.Cmd.Process.Pid, 13, 14, 15, 16) + ticks(b, 1, 15, 16) + s.service(b)
}

// service is relayd's time so far.
func (s *side) service(b *testing.B) time.Duration {
	b.Helper()
	if s.relayd == nil {
		return 0
	}
	return ticks(b, s.relayd.Cmd.Process.Pid, 13, 14)
}

// alive is the time of the side's session processes that still run, and relayd's.
func (s *side) alive(b *testing.B) time.Duration {
	b.Helper()
	sum := s.service(b)
	for _, p := range harness.Procs(b, s.comms...) {
		sum += ticks(b, p.PID, 13, 14)
	}
	return sum
}

// ticks adds fields of /proc/PID/stat, counted from 0; they are hundredths of a second.
func ticks(b *testing.B, pid int, fields ...int) (sum time.Duration) {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	f := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	for _, n := range fields {
		v, err := strconv.Atoi(f[n-2])
		if err != nil {
			b.Fatal(err)
		}
		sum += time.Duration(v) * 10 * time.Millisecond
	}
	return sum
}

// settled waits until no session process of the side is left, so that all time is counted.
func (s *side) settled(b *testing.B) {
	b.Helper()
	harness.NoneLeft(b, s.comms...)
	if !harness.Eventually(func() bool { return len(measure.Children(b, s.front.Cmd.Process.Pid)) == 0 }) {
		b.Fatal("the launcher does not wait for its children")
	}
}

func median[T ~int64 | ~float64](values []T) T {
	slices.Sort(values)
	return values[len(values)/2]
}

// report shows each side's median, and the ratios of ours to Courier's.
func report(b *testing.B, unit string, sides []*side, values map[string][]float64) {
	b.Helper()
	medians := map[string]float64{}
	for _, s := range sides {
		medians[s.name] = median(values[s.name])
		b.ReportMetric(medians[s.name], s.name+"-"+unit)
	}
	for _, ours := range []string{"ours", "ours-relayd"} {
		for _, theirs := range []string{"courier", "courier-best"} {
			b.ReportMetric(medians[ours]/medians[theirs], ours+"/"+theirs)
		}
	}
}
