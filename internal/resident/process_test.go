package resident_test

import (
	"bufio"
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"mailproxy/tests/relaytest"
	"mailproxy/tests/testlog"
	"mailproxy/tests/testport"
)

// process is a front end in a process of its own, and those that have taken its place.
type process struct {
	t        testing.TB
	protocol string
	path     string // of the program
	cmd      *exec.Cmd
	plain    string // where it listens
	tls      string
	log      *testlog.Log
	exited   chan struct{}
}

// start starts one for a protocol, "imap" or "pop3". What is in more goes into its environment.
func (w *world) start(protocol string, more ...string) *process {
	return w.startWith(nil, protocol, more...)
}

func (w *world) startWith(args []string, protocol string, more ...string) *process {
	t := w.t
	t.Helper()
	name := map[string]string{"imap": "imapd-proxy", "pop3": "pop3d-proxy"}[protocol]
	p := &process{t: t, protocol: protocol, path: filepath.Join(w.dir, name), log: &testlog.Log{},
		plain: testport.Reserve(t), tls: testport.Reserve(t), exited: make(chan struct{})}
	p.install()
	pemFile := filepath.Join(w.dir, "certificate.pem")
	writeCertificate(t, pemFile)
	prefix := strings.ToUpper(protocol)
	p.cmd = exec.Command(p.path, append(args, "-listen", p.plain, "-listen", "tls:"+p.tls)...)
	p.cmd.Env = append([]string{
		"AUTHDAEMON_SOCKET=" + filepath.Join(w.dir, "auth"), prefix + "_PROXY=1", "RELAY_SOCKET=",
		"TLS_CERTFILE=" + pemFile, "PATH=/usr/bin:/bin", "GORACE=" + os.Getenv("GORACE"),
	}, more...)
	in, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p.cmd.Stdout, p.cmd.Stderr = out, out
	go func() { _, _ = io.Copy(p.log, in) }()
	err = p.cmd.Start()
	out.Close()
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = p.cmd.Wait(); close(p.exited) }()
	t.Cleanup(func() {
		for _, pid := range p.pids() {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
		<-p.exited
		in.Close()
		if strings.Contains(p.log.String(), "DATA RACE") || t.Failed() {
			t.Errorf("log of %s:\n%s", name, p.log)
		}
	})
	p.until("it serves", func() bool {
		c, err := net.Dial("tcp", p.plain)
		if err != nil {
			return false
		}
		defer c.Close()
		_, err = bufio.NewReader(c).ReadString('\n')
		return err == nil
	})
	return p
}

// install puts the program in its place, as an upgrade does: under another name first.
func (p *process) install() {
	p.t.Helper()
	p.replace(testBinary(p.t))
}

func testBinary(t testing.TB) []byte {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// testBinary is a copy of this program in a directory that the front end's user may enter.
func (w *world) testBinary() string {
	w.t.Helper()
	path := filepath.Join(w.dir, "test")
	if _, err := os.Stat(path); err != nil {
		if err := os.WriteFile(path, testBinary(w.t), 0o755); err != nil {
			w.t.Fatal(err)
		}
	}
	return path
}

// children counts the processes that the first one has started.
func (p *process) children() (n int) {
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", p.cmd.Process.Pid))
	for _, path := range threads {
		text, _ := os.ReadFile(path)
		n += len(strings.Fields(string(text)))
	}
	return n
}

func (p *process) replace(program []byte) {
	p.t.Helper()
	// A child that another test starts meanwhile would have the file open for writing until it executes its
	// program, and this one could not be executed ("text file busy").
	syscall.ForkLock.RLock()
	err := os.WriteFile(p.path+".new", program, 0o755)
	syscall.ForkLock.RUnlock()
	if err == nil {
		err = os.Rename(p.path+".new", p.path)
	}
	if err != nil {
		p.t.Fatal(err)
	}
}

func writeCertificate(t testing.TB, path string) {
	t.Helper()
	c := relaytest.Certificate(t)
	key, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	text := bytes.Join([][]byte{
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}),
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate[0]}),
	}, nil)
	// The front end may be another user, and the key is nobody's secret.
	if err := os.WriteFile(path, text, 0o644); err != nil {
		t.Fatal(err)
	}
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

// signal sends a signal to the newest process.
func (p *process) signal(s syscall.Signal) {
	p.t.Helper()
	pids := p.pids()
	if err := unix.Kill(pids[len(pids)-1], s); err != nil {
		p.t.Fatal(err)
	}
}

// reload has another process take the place of the newest one.
func (p *process) reload() {
	p.t.Helper()
	n := len(p.pids())
	p.signal(unix.SIGHUP)
	p.until("a new process", func() bool { return len(p.pids()) > n })
	p.until("the old one has passed all on", func() bool {
		return strings.Count(p.log.String(), "sessions passed on to process") >= n
	})
}

// alive says whether a process is there and no zombie.
func alive(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !bytes.Contains(text, []byte(") Z "))
}
