package resident

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"mailproxy/tests/harness"
	"mailproxy/tests/testcert"
)

const (
	soakAddr = "127.0.1.7"
	soakHost = "127.0.0.7:143"
	// kept is how many file descriptors a front end keeps for later: connections to authdaemond and to relayd.
	kept = 20
	// perKind is how many clients of a kind there are at a time.
	perKind = 3
)

// What clients of all kinds do to a resident front end, again and again and while their mailhost is
// restarted, leaves nothing behind: no file descriptors, no goroutines, no memory. "make soak" takes ten
// minutes for it.
func TestVolumeResident(t *testing.T) {
	for _, kind := range []struct {
		name           string
		relayd, reload bool
	}{{name: "own engine"}, {name: "with relayd", relayd: true}, {name: "reloads", reload: true}} {
		t.Run(kind.name, func(t *testing.T) {
			length := time.Duration(harness.Volume(4, 200)) * time.Second
			soak(t, kind.relayd, kind.reload, int(harness.Volume(2, 10)), length)
		})
	}
}

func soak(t *testing.T, relayd, reload bool, rounds int, length time.Duration) {
	w := newSoakWorld(t, relayd)
	w.login(t) // what is made at the first login is no growth
	for _, p := range w.watched {
		p.idle = descriptors(t, p.pid())
	}
	total := map[string]int{}
	for round := range rounds {
		done := w.round(t, length/time.Duration(rounds), reload)
		for name, n := range done {
			total[name] += n
		}
		w.login(t) // works again, though the mailhost has been restarted
		for _, p := range w.watched {
			p.sample(t)
		}
		t.Logf("round %d: %v", round, done)
	}
	for _, kind := range soakClients {
		if total[kind.name] == 0 {
			t.Errorf("no client that is %q did what it does", kind.name)
		}
	}
	for _, p := range w.watched {
		p.compare(t)
	}
}

// soakWorld is what the clients use, and what is watched.
type soakWorld struct {
	host    *server
	watched []*watched
	front   *watched // one of them
}

func newSoakWorld(t *testing.T, relayd bool) *soakWorld {
	harness.Userdb(t, harness.Account{Name: "ann", Password: "secret", Options: "mailhost=127.0.0.7"})
	auth := harness.PlainAuthdaemond(t, "authuserdb", nil)
	w := &soakWorld{host: newServer(t, soakHost, soakMailhost)}
	socket := ""
	if relayd {
		s := harness.PlainRelayd(t)
		socket = s.Socket
		w.watched = append(w.watched, &watched{name: "relayd", process: s.Process, log: s.Log.String})
	}
	file := harness.NewPKI(t).File(t, "cert.pem", testcert.Spec{Name: "localhost"})
	cmd := exec.Command(harness.PlainBin(t, "imapd-proxy"), "-user", "courier", "-listen", soakAddr+":143",
		"-listen", "tls:"+soakAddr+":993")
	cmd.Env = []string{"PATH=/usr/bin:/bin", "GOTRACEBACK=all", "IMAP_PROXY=1", "RELAY_SOCKET=" + socket,
		"AUTHDAEMON_SOCKET=" + auth.Socket, "TLS_CERTFILE=" + file, "LOGIN_FAIL_DELAY=0", "MAXUNAUTHPERIP=0",
		"PROXY_MAILHOST_RETRY=1", "THROTTLE_FILE=/run/mailproxy/throttle"}
	// Ten minutes of log lines are not kept in memory.
	log, err := os.Create(filepath.Join(harness.Dir(t), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd.Stderr = log
	p := harness.Start(t, cmd)
	front := &watched{name: "imapd-proxy", process: p, log: func() string {
		text, err := os.ReadFile(log.Name())
		if err != nil {
			t.Error(err)
		}
		return string(text)
	}}
	t.Cleanup(func() {
		if lines := strings.Split(front.log(), "\n"); t.Failed() {
			t.Logf("--- end of the log:\n%s", strings.Join(lines[max(0, len(lines)-50):], "\n"))
		}
	})
	w.front = front
	w.watched = append(w.watched, front)
	p.WaitListen(t, soakAddr+":993")
	return w
}

// login is one that must work, soon after a mailhost's restart.
func (w *soakWorld) login(t *testing.T) {
	t.Helper()
	var err error
	if !harness.Eventually(func() bool { err = wholeSession(false); return err == nil }) {
		t.Fatalf("no login is possible: %v", err)
	}
}

// round has all kinds of clients work until the time is over, restarts the mailhost meanwhile, and returns
// how often each kind has done what it does. Clients that meet the restart fail, which is no fault.
func (w *soakWorld) round(t *testing.T, length time.Duration, reload bool) map[string]int {
	t.Helper()
	stop := make(chan struct{})
	done := make([]*atomic.Int64, len(soakClients))
	for i := range done {
		done[i] = new(atomic.Int64)
	}
	var wg sync.WaitGroup
	for i := range len(soakClients) * perKind {
		kind := i / perKind
		wg.Go(func() {
			for n := i; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				if soakClients[kind].session(n, stop) == nil {
					done[kind].Add(1)
				}
			}
		})
	}
	for range 2 {
		time.Sleep(length / 3) // how long a round takes is what the test is about
		w.host.stop()
		w.host = newServer(t, soakHost, soakMailhost)
		if reload {
			w.front.reload(t)
		}
	}
	time.Sleep(length / 3) // as above
	// On a busy machine each kind needs longer.
	harness.Eventually(func() bool {
		return !slices.ContainsFunc(done, func(n *atomic.Int64) bool { return n.Load() == 0 })
	})
	close(stop)
	wg.Wait()
	counts := map[string]int{}
	for i, kind := range soakClients {
		counts[kind.name] = int(done[i].Load())
	}
	return counts
}

// watched is a process that must not grow.
type watched struct {
	name    string
	process *harness.Process
	log     func() string
	idle    int   // file descriptors before the first round
	memory  []int // KiB after each round
	threads []int
}

// pid is the process's number, or that of the last one that has taken over from it.
func (p *watched) pid() string {
	if all := harness.TakenOver.FindAllStringSubmatch(p.log(), -1); all != nil {
		return all[len(all)-1][1]
	}
	return pid(p.process)
}

// reload has a successor take over.
func (p *watched) reload(t *testing.T) {
	t.Helper()
	before := p.pid()
	p.signal(t, syscall.SIGHUP)
	if !harness.Eventually(func() bool { return p.pid() != before }) {
		t.Fatal("no process takes over")
	}
}

func (p *watched) signal(t *testing.T, sig syscall.Signal) {
	t.Helper()
	n, err := strconv.Atoi(p.pid())
	if err == nil {
		err = syscall.Kill(n, sig)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// sample waits until the process has nothing open that belongs to a client, and notes its size.
func (p *watched) sample(t *testing.T) {
	t.Helper()
	n := 0
	if !harness.Eventually(func() bool { n = descriptors(t, p.pid()); return n <= p.idle+kept }) {
		t.Fatalf("%s has %d descriptors open, %d when nobody had been there", p.name, n, p.idle)
	}
	p.memory = append(p.memory, residentMemory(t, p.pid()))
	tasks, err := os.ReadDir("/proc/" + p.pid() + "/task")
	if err != nil {
		t.Fatal(err)
	}
	p.threads = append(p.threads, len(tasks))
}

// compare expects that the second half of the rounds has left the process as large as the first, and ends it
// with a list of its goroutines.
func (p *watched) compare(t *testing.T) {
	t.Helper()
	t.Logf("%s: KiB %v, threads %v", p.name, p.memory, p.threads)
	half := (len(p.memory) + 1) / 2
	// 16 MiB is more than what the collector's turns differ by. "make soak" has some 60,000 connections in half
	// of the rounds: a KiB left of each would be 60 MiB.
	if before, after := slices.Max(p.memory[:half]), slices.Min(p.memory[half:]); after > before+16<<10 {
		t.Errorf("%s grows: %v KiB", p.name, p.memory)
	}
	if before, after := slices.Max(p.threads[:half]), slices.Min(p.threads[half:]); after > before+20 {
		t.Errorf("%s has more and more threads: %v", p.name, p.threads)
	}
	p.signal(t, syscall.SIGQUIT)
	harness.NoneLeft(t, p.name) // its predecessors neither
	// The last of the list may be in the log a moment after the process has ended.
	goroutines, n := regexp.MustCompile(`(?m)^goroutine \d+ `), 0
	harness.Eventually(func() bool {
		before := n
		n = len(goroutines.FindAllString(p.log(), -1))
		return n > 0 && n == before
	})
	t.Logf("%s: %d goroutines at the end", p.name, n)
	if n == 0 || n > maxGoroutines {
		t.Errorf("%s has %d goroutines when nobody is there, want some, at most %d", p.name, n, maxGoroutines)
	}
}

// maxGoroutines is how many there are at most in a process that serves nobody, with those of the runtime.
const maxGoroutines = 100

// soakMailhost lets everybody in.
func soakMailhost(conn net.Conn) {
	fmt.Fprint(conn, "* OK [CAPABILITY IMAP4rev1] ready\r\n")
	buf := make([]byte, 1024)
	for {
		n, err := conn.Read(buf) // clients send a line at a time
		if err != nil {
			return
		}
		tag, rest, _ := strings.Cut(string(buf[:n]), " ")
		if strings.HasPrefix(rest, "LOGOUT") {
			fmt.Fprint(conn, "* BYE bye\r\n"+tag+" OK bye\r\n")
			return
		}
		fmt.Fprint(conn, tag+" OK done\r\n")
	}
}
