package harness

import (
	"bytes"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"syscall"
	"testing"
)

// ResidentUser is who a resident front end runs as: it may enter the directory of Courier's authdaemon.
const ResidentUser = "courier"

// localPort is how much higher the port is at which one process a connection serves the local accounts of a
// resident front end.
const localPort = 10000

// resident starts one process for all connections, with the settings in its environment, and one a connection
// for local accounts (PROXY_LOCAL). Both write to the same Log.
func resident(t testing.TB, p *Proxy, front Protocol, o ProxyOptions) {
	t.Helper()
	bin := Bin
	if o.Shipped {
		bin = PlainBin
	}
	// Courier's file for session tickets is root's, and some machines have fewer file descriptors than
	// MAXUNAUTH asks for by default, which is a line in the log.
	env := Env{
		"PROXY_LOCAL": hostPort(o.Addr, localPort+front.Port), "TLS_CACHEFILE": "", "MAXUNAUTH": "1000",
	}
	maps.Copy(env, o.Env)
	at := []string{front.At(o.Addr)}
	args := []string{bin(t, front.Program), "-user", ResidentUser, "-listen", at[0]}
	if o.TLS {
		at = append(at, hostPort(o.Addr, front.TLSPort))
		args = append(args, "-listen", "tls:"+at[1])
	}
	if o.Admin {
		p.admin[front.Program] = filepath.Join(Dir(t), "admin")
		args = append(args, "-admin", p.admin[front.Program])
	}
	log := new(Log)
	process := startLogging(t, underSettings(TCPD{Config: front.Config, Env: env}, args), log, log)
	process.WaitListen(t, at...)
	p.processes[front.Name] = process
	if o.TLS {
		p.processes[front.Name+"S"] = process
	}
	here := maps.Clone(o.Env)
	maps.Copy(here, Env{
		"HAPROXY": "1", "HAPROXY_ALLOW": "127.0.0.0/8", "THROTTLE_FILE": "", "MAXUNAUTHPERIP": "",
	})
	couriertcpd(t, TCPD{
		Addr: o.Addr, Port: localPort + front.Port, Config: front.Config, Env: here,
		Program: o.program(t, front),
	}, log, &withoutConnections{to: log})
}

// StartResident starts a program as one process for all connections, with only these settings and options
// besides -user and -listen, and waits until it listens on the addresses ("ip:port", "tls:ip:port").
func StartResident(t testing.TB, program string, settings Env, options []string, at ...string) *Process {
	t.Helper()
	args := append([]string{"-user", ResidentUser}, options...)
	for _, addr := range at {
		args = append(args, "-listen", addr)
	}
	cmd := exec.Command(program, args...)
	cmd.Env = append(baseEnv(), settings.List()...)
	p := Start(t, cmd)
	p.WaitListen(t, at...)
	return p
}

// TakenOver is what a process says that has taken the place of the one before.
var TakenOver = regexp.MustCompile(`(?m)^INFO: \d+ sessions taken over by process (\d+)`)

// Newest is the process that serves now: the one that has taken over last, if any has.
func (p *Process) Newest() int {
	pid, _ := p.newest()
	return pid
}

// Signal sends a signal to the process that serves now.
func (p *Process) Signal(t testing.TB, s syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(p.Newest(), s); err != nil {
		t.Fatal(err)
	}
}

// newest is the process that serves now, after how many reloads.
func (p *Process) newest() (pid, reloads int) {
	pid = p.Cmd.Process.Pid
	for _, m := range TakenOver.FindAllStringSubmatch(p.Log.String(), -1) {
		pid, _ = strconv.Atoi(m[1])
		reloads++
	}
	return pid, reloads
}

// Reload has another process take over, which reads everything anew.
func (p *Process) Reload(t testing.TB) {
	t.Helper()
	_, n := p.newest()
	p.Signal(t, syscall.SIGHUP)
	p.Log.WaitN(t, n+1, `^INFO: \d+ sessions passed on to process`)
	p.Log.WaitN(t, n+1, TakenOver.String())
}

// withoutConnections passes whole lines on, but those that say that a connection has come in: what comes to
// PROXY_LOCAL is no client's first.
type withoutConnections struct {
	to   io.Writer
	rest []byte
}

func (w *withoutConnections) Write(p []byte) (int, error) {
	w.rest = append(w.rest, p...)
	for {
		i := bytes.IndexByte(w.rest, '\n')
		if i < 0 {
			return len(p), nil
		}
		line := w.rest[:i+1]
		if !bytes.HasPrefix(line, []byte("DEBUG: Connection, ")) {
			if _, err := w.to.Write(line); err != nil {
				return 0, err
			}
		}
		w.rest = w.rest[i+1:]
	}
}

// noSessions waits until the resident front ends serve nobody: they have no connection open.
func noSessions(t testing.TB, p *Proxy) {
	t.Helper()
	for _, process := range p.processes {
		if n := 0; !Eventually(func() bool { n = process.connections(t); return n == 0 }) {
			t.Fatalf("a resident front end still has %d connections open", n)
		}
	}
}

// Readable makes a secret file one that the resident front ends may read too, and nobody else but root.
func Readable(t testing.TB, path string) {
	t.Helper()
	_, gid, err := ids(ResidentUser)
	if err == nil {
		err = os.Chown(path, 0, gid)
	}
	if err == nil {
		err = os.Chmod(path, 0o640)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Give makes a file the property of the user that this mode's front ends run as, until the end of the test.
func (m *Mode) Give(t testing.TB, path string) {
	t.Helper()
	if m.user == "" {
		return
	}
	uid, _, err := ids(m.user)
	if err == nil {
		err = os.Chown(path, uid, -1)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.Chown(path, 0, -1); err != nil {
			t.Error(err)
		}
	})
}
