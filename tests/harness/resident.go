package harness

import (
	"bytes"
	"io"
	"maps"
	"os"
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
func resident(t testing.TB, p *Proxy, protocol string, o ProxyOptions) {
	t.Helper()
	front := frontEnds[protocol]
	bin := Bin
	if o.Shipped {
		bin = PlainBin
	}
	local := o.LocalServer
	if local == "" {
		local = front.local
	}
	// Courier's file for session tickets is root's, and some machines have fewer descriptors than MAXUNAUTH asks
	// for by default, which is a line in the log.
	env := Env{
		"PROXY_LOCAL": hostPort(o.Addr, localPort+ports[protocol]), "TLS_CACHEFILE": "", "MAXUNAUTH": "1000",
	}
	maps.Copy(env, o.Env)
	at := []string{hostPort(o.Addr, ports[protocol])}
	args := []string{bin(t, front.program), "-user", ResidentUser, "-listen", at[0]}
	if o.TLS {
		at = append(at, hostPort(o.Addr, ports[protocol+"S"]))
		args = append(args, "-listen", "tls:"+at[1])
	}
	if o.Admin {
		p.admin[front.program] = filepath.Join(Dir(t), "admin")
		args = append(args, "-admin", p.admin[front.program])
	}
	log := new(Log)
	process := startLogging(t, underSettings(TCPD{Config: front.config, Env: env}, args), log, log)
	process.waitListen(t, at...)
	p.processes[protocol] = process
	if o.TLS {
		p.processes[protocol+"S"] = process
	}
	here := maps.Clone(o.Env)
	maps.Copy(here, Env{
		"HAPROXY": "1", "HAPROXY_ALLOW": "127.0.0.0/8", "THROTTLE_FILE": "", "MAXUNAUTHPERIP": "",
	})
	couriertcpd(t, TCPD{
		Addr: o.Addr, Port: localPort + ports[protocol], Config: front.config, Env: here,
		Program: []string{PlainBin(t, front.program), local, "Maildir"},
	}, log, &withoutConnections{to: log})
}

// takenOver is what a process says that has taken the place of the one before.
var takenOver = regexp.MustCompile(`(?m)^INFO: \d+ sessions taken over by process (\d+)`)

// newest is the process that serves now, after how many reloads.
func (p *Process) newest() (pid, reloads int) {
	pid = p.Cmd.Process.Pid
	for _, m := range takenOver.FindAllStringSubmatch(p.Log.String(), -1) {
		pid, _ = strconv.Atoi(m[1])
		reloads++
	}
	return pid, reloads
}

// reload has another process take over, which reads everything anew.
func (p *Process) reload(t testing.TB) {
	t.Helper()
	pid, n := p.newest()
	if err := syscall.Kill(pid, syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	p.Log.WaitN(t, n+1, `^INFO: \d+ sessions passed on to process`)
	p.Log.WaitN(t, n+1, takenOver.String())
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
