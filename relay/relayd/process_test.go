package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"mailproxy/relay"
	"mailproxy/relay/engine"
	"mailproxy/tests/relaytest"
	"mailproxy/tests/testlog"
	"mailproxy/tests/testprocess"
)

// TestMain makes this test binary a relayd when it is called so, which a reload does as well.
func TestMain(m *testing.M) {
	if fault := os.Getenv(faultVariable); fault != "" {
		faultySuccessor(fault)
		os.Exit(0)
	}
	if filepath.Base(os.Args[0]) == "relayd" {
		if n, err := strconv.ParseUint(os.Getenv(noFile), 10, 64); err == nil {
			_ = unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: n, Max: n})
		}
		main()
	}
	os.Exit(m.Run())
}

// process is a relayd in a process of its own.
type process struct {
	t      testing.TB
	cmd    *exec.Cmd
	socket string
	log    *testlog.Log
	exited chan struct{}
}

// noFile=N among the arguments limits the process's file descriptors.
const noFile = "RELAYD_TEST_NOFILE"

func startProcess(t testing.TB, args ...string) *process {
	t.Helper()
	env := []string{"GORACE=" + os.Getenv("GORACE")}
	if len(args) > 0 && (strings.HasPrefix(args[0], noFile) || strings.HasPrefix(args[0], "NOTIFY_SOCKET=")) {
		env, args = append(env, args[0]), args[1:]
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{t: t, socket: filepath.Join(t.TempDir(), "relayd"),
		log: &testlog.Log{}, exited: make(chan struct{})}
	p.cmd = exec.Command(program)
	p.cmd.Args = append([]string{"relayd", "-socket", p.socket, "-loops", "2"}, args...)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p.cmd.Stderr = w
	p.cmd.Env = env
	go func() { _, _ = io.Copy(p.log, r) }()
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	go func() { _ = p.cmd.Wait(); close(p.exited) }()
	t.Cleanup(func() {
		for _, pid := range p.pids() {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
		<-p.exited
		r.Close()
		if strings.Contains(p.log.String(), "DATA RACE") || t.Failed() {
			t.Errorf("log of relayd:\n%s", p.log)
		}
	})
	// The socket's file is there a moment before somebody listens.
	p.until("it listens", func() bool {
		conn, err := net.Dial("unixpacket", p.socket)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	return p
}

var takenOver = regexp.MustCompile(`(\d+) sessions taken over by process (\d+)`)

// pids are the processes that there have been: the first, and those of reloads.
func (p *process) pids() []int {
	pids := []int{p.cmd.Process.Pid}
	for _, m := range takenOver.FindAllStringSubmatch(p.log.String(), -1) {
		pid, _ := strconv.Atoi(m[2])
		pids = append(pids, pid)
	}
	return pids
}

func (p *process) until(what string, ok func() bool) {
	p.t.Helper()
	if !testlog.Eventually(ok) {
		p.t.Fatalf("waited in vain: %s\n%s", what, p.log)
	}
}

// reload sends SIGHUP to the newest process and waits until the next one serves.
func (p *process) reload() {
	p.t.Helper()
	pids := p.pids()
	if err := unix.Kill(pids[len(pids)-1], unix.SIGHUP); err != nil {
		p.t.Fatal(err)
	}
	p.until("a new process", func() bool { return len(p.pids()) > len(pids) })
	p.until("the old one has passed all on", func() bool {
		return strings.Count(p.log.String(), "sessions passed on") >= len(pids)
	})
}

func (p *process) hand(client, mailhost relaytest.Conn, user string) {
	p.t.Helper()
	if err := handOver(p.socket, client, mailhost, info(user), ""); err != nil {
		p.t.Fatal(err)
	}
	client.Close()
	mailhost.Close()
}

// TestReload: megabytes each way through three processes one after the other, not a byte lost, plain and
// with TLS, with readers that are slow, and sessions that idle or are half closed meanwhile.
func TestReload(t *testing.T) {
	p := startProcess(t)
	kinds := append(relaytest.TLSKinds()[:2], relaytest.Kinds()...)
	var wg sync.WaitGroup
	errs := make(chan error, 100)
	for i := range 20 {
		nc, fc := kinds[i%len(kinds)].Make(t)
		nm, fm := relaytest.TCP(t, 0)
		p.hand(nc, nm, fmt.Sprint("bulk", i))
		wg.Go(func() {
			if err := relaytest.Bulk(slow{fc, i}, fm, 6<<20); err != nil {
				errs <- fmt.Errorf("session %d: %w", i, err)
			}
		})
	}
	idle, farIdle := relaytest.TLSKinds()[0].Make(t)
	nm, farMailhost := relaytest.TCP(t, 0)
	p.hand(idle, nm, "idle")
	half, farHalf := relaytest.TCP(t, 0)
	nm2, farMailhost2 := relaytest.TCP(t, 0)
	p.hand(half, nm2, "half")
	_, _ = io.WriteString(farHalf, "QUIT\r\n")
	_ = farHalf.CloseWrite()
	for range 2 {
		time.Sleep(150 * time.Millisecond)
		p.reload()
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		t.Error(err)
	}
	for range 3 {
		relaytest.Exchange(t, farIdle, farMailhost)
		relaytest.Exchange(t, farMailhost, farIdle)
	}
	if got, err := io.ReadAll(farMailhost2); string(got) != "QUIT\r\n" || err != nil {
		t.Errorf("half-closed session: %q, %v", got, err)
	}
	_, _ = io.WriteString(farMailhost2, "+OK\r\n")
	farMailhost2.Close()
	if got, err := io.ReadAll(farHalf); string(got) != "+OK\r\n" || err != nil {
		t.Errorf("half-closed session, back: %q, %v", got, err)
	}
	p.until("end lines", func() bool { return strings.Count(p.log.String(), "INFO: LOGOUT, user=bulk") == 20 })
	if n := strings.Count(p.log.String(), fmt.Sprintf("rcvd=%d, sent=%d", 6<<20, 6<<20)); n != 20 {
		t.Errorf("%d of 20 sessions have the right numbers of bytes", n)
	}
	p.until("only the idle session is left", func() bool {
		out, _, _ := ask(p.socket, "who")
		return strings.Count(out, "\n") == 1 && strings.HasPrefix(out, "idle\t")
	})
	select {
	case <-p.exited:
	case <-time.After(30 * time.Second):
		t.Error("the first process does not end")
	}
}

// slow reads in little portions, some of the sessions more slowly than others.
type slow struct {
	relaytest.Conn
	n int
}

func (s slow) Read(b []byte) (int, error) {
	if s.n%3 == 0 {
		time.Sleep(time.Millisecond)
		b = b[:min(len(b), 16<<10)]
	}
	return s.Conn.Read(b)
}

// TestReloadFails: a new version that does not start, or dies, leaves everything with the old one.
func TestReloadFails(t *testing.T) {
	for _, broken := range []string{"#!/bin/sh\nexit 1\n", "#!/bin/sh\nsleep 0.2\n", "not a program"} {
		s := startService(t)
		path := filepath.Join(t.TempDir(), "relayd")
		if err := os.WriteFile(path, []byte(broken), 0o755); err != nil {
			t.Fatal(err)
		}
		nc, fc := relaytest.TCP(t, 0)
		nm, fm := relaytest.TCP(t, 0)
		s.join(t, nc, nm, time.Minute)
		relaytest.Exchange(t, fc, fm)
		s.conf.program = path
		if next, err := s.reload(context.Background()); err == nil {
			t.Fatalf("%q took %d sessions", broken, next.Sessions)
		}
		relaytest.Exchange(t, fc, fm)
		relaytest.Exchange(t, fm, fc)
		nc2, fc2 := relaytest.TCP(t, 0)
		nm2, fm2 := relaytest.TCP(t, 0)
		s.join(t, nc2, nm2, time.Minute)
		relaytest.Exchange(t, fc2, fm2)
	}
}

// keeps hands a session to a relayd that is dead, or about to be: the session stays with the front end.
func keeps(t *testing.T, p *process, kind relaytest.Kind) {
	t.Helper()
	nc, fc := kind.Make(t)
	nm, fm := relaytest.TCP(t, 0)
	if err := handOver(p.socket, nc, nm, info("ann"), "OK\r\n"); !errors.Is(err, relay.ErrUnavailable) {
		t.Fatal(err)
	}
	here(t, nc, nm, fc, fm)
}

// TestKilled: relayd is killed at each step of a hand-over. The front end always knows whose the session is.
func TestKilled(t *testing.T) {
	for _, kind := range []relaytest.Kind{relaytest.Kinds()[0], relaytest.TLSKinds()[0]} {
		t.Run("before, "+kind.Name, func(t *testing.T) {
			p := startProcess(t)
			p.kill()
			keeps(t, p, kind)
		})
		t.Run("stopped, then killed, "+kind.Name, func(t *testing.T) {
			p := startProcess(t)
			p.freeze()
			time.AfterFunc(200*time.Millisecond, p.kill)
			keeps(t, p, kind)
		})
	}
	t.Run("stopped for longer than it is waited for", func(t *testing.T) {
		p := startProcess(t)
		p.freeze()
		keeps(t, p, relaytest.Kinds()[0])
		_ = p.cmd.Process.Signal(unix.SIGCONT)
		p.until("it finds out that the session is not its own", func() bool {
			out, _, _ := ask(p.socket, "stats")
			return strings.Contains(out, "mailproxy_relayd_sessions 0\n")
		})
		p.kill()
	})
	t.Run("afterwards", func(t *testing.T) {
		p := startProcess(t)
		nc, fc := relaytest.TCP(t, 0)
		nm, fm := relaytest.TCP(t, 0)
		p.hand(nc, nm, "ann")
		relaytest.Exchange(t, fc, fm)
		p.kill()
		if n, err := fc.Read(make([]byte, 1)); n != 0 || err == nil {
			t.Errorf("the client sees %d bytes, %v", n, err)
		}
	})
}

// here relays in this process what relayd did not take: the client is told OK and sends a command.
func here(t *testing.T, nc, nm, fc, fm relaytest.Conn) {
	t.Helper()
	_, _ = io.WriteString(fc, "a NOOP\r\n")
	wait := make(chan struct{})
	go func() {
		defer close(wait)
		e, err := engine.New(engine.Config{})
		if err != nil {
			t.Error(err)
			return
		}
		defer e.Shutdown(context.Background())
		s := &relay.Session{Client: nc, Mailhost: nm, First: []byte("OK\r\n")}
		if err := e.Carry(context.Background(), s); err != nil {
			t.Error(err)
		}
		_ = e.Wait(context.Background())
	}()
	buf := make([]byte, 8)
	if _, err := io.ReadFull(fc, buf[:4]); err != nil || string(buf[:4]) != "OK\r\n" {
		t.Fatalf("%q %v", buf[:4], err)
	}
	if _, err := io.ReadFull(fm, buf); err != nil || string(buf) != "a NOOP\r\n" {
		t.Fatalf("%q %v", buf, err)
	}
	relaytest.Exchange(t, fm, fc)
	fc.Close()
	fm.Close()
	<-wait
}

// freeze stops the process and waits until all its threads stand still.
func (p *process) freeze() {
	p.t.Helper()
	_ = p.cmd.Process.Signal(unix.SIGSTOP)
	p.until("it stops", func() bool { return testprocess.Stopped(p.cmd.Process.Pid) })
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.exited
}
