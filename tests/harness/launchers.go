package harness

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// Listen says where a launcher listens and what it runs.
type Listen struct {
	Addr    string
	Port    int
	Env     Env
	Program []string // program and arguments
}

func (l Listen) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, append(args, l.Program...)...)
	cmd.Env = append(baseEnv(), l.Env.List()...)
	return cmd
}

// Tcpserver runs the program under tcpserver of ucspi-tcp. The Log gets the program's standard error.
func Tcpserver(t testing.TB, l Listen) *Process {
	t.Helper()
	p := Start(t, l.command("tcpserver", "-HRl0", "-c4000", l.Addr, strconv.Itoa(l.Port)))
	p.WaitListen(t, hostPort(l.Addr, l.Port))
	return p
}

// Tcpsvd runs the program under tcpsvd of ipsvd. The Log gets the program's standard error.
func Tcpsvd(t testing.TB, l Listen) *Process {
	t.Helper()
	p := Start(t, l.command("tcpsvd", "-c4000", "-b500", "-l", "localhost", l.Addr, strconv.Itoa(l.Port)))
	p.WaitListen(t, hostPort(l.Addr, l.Port))
	return p
}

// SystemdAccept runs the program as a unit with Accept=yes does: one process a connection, which is its
// standard input and output (inetd), or file descriptor 3 with LISTEN_FDS=1 (not inetd). The Log gets
// standard error.
func SystemdAccept(t testing.TB, l Listen, inetd bool) *Process {
	t.Helper()
	args := []string{"--accept", "-l", hostPort(l.Addr, l.Port)}
	if inetd {
		args = append(args, "--inetd")
	}
	return systemd(t, l, args)
}

// SystemdListen runs the program once as a unit with Accept=no does: the listening socket is file descriptor
// 3. It starts with the first connection.
func SystemdListen(t testing.TB, l Listen) *Process {
	t.Helper()
	return systemd(t, l, []string{"-l", hostPort(l.Addr, l.Port)})
}

func systemd(t testing.TB, l Listen, args []string) *Process {
	t.Helper()
	for _, setting := range append(baseEnv(), l.Env.List()...) {
		args = append(args, "-E", setting)
	}
	p := Start(t, l.command("systemd-socket-activate", args...))
	p.WaitListen(t, hostPort(l.Addr, l.Port))
	return p
}

// Xinetd runs the program under xinetd: file descriptors 0, 1 and 2 are all the connection. The Log gets
// xinetd's own log. Options are further lines of the service entry.
func Xinetd(t testing.TB, l Listen, options ...string) *Process {
	t.Helper()
	dir := Dir(t)
	if len(l.Program) > 1 {
		options = append(options, "server_args = "+strings.Join(l.Program[1:], " "))
	}
	if len(l.Env) > 0 {
		options = append(options, "env = "+strings.Join(l.Env.List(), " "))
	}
	if strings.ContainsAny(strings.Join(l.Env.List(), ""), " \t\n") {
		t.Fatalf("xinetd takes no blanks in env values: %q", l.Env)
	}
	conf := fmt.Sprintf(`service test
{
	type = UNLISTED
	protocol = tcp
	socket_type = stream
	user = root
	wait = no
	disable = no
	instances = UNLIMITED
	cps = 10000 1
	bind = %s
	port = %d
	server = %s
	%s
}
`, l.Addr, l.Port, l.Program[0], strings.Join(options, "\n\t"))
	return XinetdConf(t, filepath.Join(dir, "xinetd.conf"), conf, hostPort(l.Addr, l.Port))
}

// XinetdConf writes a configuration to the path, starts xinetd with it and waits until it listens on the
// addresses.
func XinetdConf(t testing.TB, path, conf string, addrs ...string) *Process {
	t.Helper()
	log := filepath.Join(filepath.Dir(path), "xinetd.log")
	for name, text := range map[string]string{path: conf, log: ""} {
		WriteFile(t, name, text, 0o600)
	}
	p := Start(
		t,
		exec.Command(
			"xinetd",
			"-dontfork",
			"-filelog",
			log,
			"-pidfile",
			filepath.Join(filepath.Dir(path), "pid"),
			"-f",
			path,
		),
	)
	t.Cleanup(func() {
		if text, err := os.ReadFile(log); err == nil && t.Failed() {
			t.Logf("--- xinetd's log:\n%s", text)
		}
	})
	p.WaitListen(t, addrs...)
	return p
}
