package harness

import (
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// Courier's programs, as Debian installs them.
const (
	CourierIMAPLogin  = "/usr/lib/courier/courier/imaplogin"
	CourierPOP3Login  = "/usr/lib/courier/courier/courierpop3login"
	CourierIMAPD      = "/usr/bin/imapd"
	CourierPOP3D      = "/usr/lib/courier/courier/courierpop3d"
	CourierAuthSocket = "/run/courier/authdaemon/socket"
)

// Env is a set of environment variables.
type Env map[string]string

// List is the settings as "NAME=value", in order.
func (e Env) List() []string {
	var list []string
	for _, name := range slices.Sorted(maps.Keys(e)) {
		list = append(list, name+"="+e[name])
	}
	return list
}

// baseEnv is the environment that every server starts with. A program with the race detector would sleep
// for a second at its end.
func baseEnv() []string {
	env := []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
	if racePrograms() {
		env = append(env, "GORACE="+raceOptions)
	}
	return env
}

// CourierAuthdaemond starts Courier's authdaemond with these modules ("authuserdb authmysql") and further
// settings for authdaemonrc. It listens on CourierAuthSocket.
func CourierAuthdaemond(t testing.TB, modules string, settings Env) *Process {
	t.Helper()
	Authdaemonrc(t, modules, settings)
	return startCourierAuthdaemond(t)
}

// CourierAuthdaemondText is CourierAuthdaemond with the text of authdaemonrc.
func CourierAuthdaemondText(t testing.TB, rc string) *Process {
	t.Helper()
	Root(t)
	WriteFile(t, "/etc/courier/authdaemonrc", rc, 0o660)
	return startCourierAuthdaemond(t)
}

func startCourierAuthdaemond(t testing.TB) *Process {
	t.Helper()
	os.Remove(CourierAuthSocket)
	p := Start(t, exec.Command("/bin/sh", "-c",
		"set -a; . /etc/courier/authdaemonrc; exec /usr/lib/courier/courier-authlib/authdaemond"))
	p.ready(t, "answer on its socket", func() bool { return accepts(CourierAuthSocket) })
	return p
}

// Authdaemonrc writes /etc/courier/authdaemonrc.
func Authdaemonrc(t testing.TB, modules string, settings Env) {
	t.Helper()
	Root(t)
	writeAuthdaemonrc(t, "/etc/courier/authdaemonrc", modules, settings)
}

func writeAuthdaemonrc(t testing.TB, path, modules string, settings Env) {
	t.Helper()
	all := Env{
		"authmodulelist": modules,
		"daemons":        "5",
		"authdaemonvar":  "/run/courier/authdaemon",
		"DEBUG_LOGIN":    "0",
		"DEFAULTOPTIONS": "",
	}
	maps.Copy(all, settings)
	var text strings.Builder
	for _, name := range slices.Sorted(maps.Keys(all)) {
		fmt.Fprintf(&text, "%s=%q\n", name, all[name])
	}
	WriteFile(t, path, text.String(), 0o660)
}

// accepts reports whether somebody listens on the unix socket. The connection is closed without a word.
func accepts(socket string) bool {
	conn, err := net.Dial("unix", socket)
	if err != nil {
		return false
	}
	conn.Close()
	return true
}

// TCPD says how couriertcpd runs a program.
type TCPD struct {
	Addr    string // loopback address to listen on
	Port    int
	Config  string   // "imapd" or "pop3d": the files in /etc/courier that are exported, with their -ssl half
	Env     Env      // settings over those of the files
	Options []string // further options of couriertcpd
	Program []string // program and arguments
	Clean   bool     // export nothing but Env (and PATH): the program reads its own files
}

// Couriertcpd runs a program as Courier's start scripts do: an environment of the configuration files
// only, couriertcpd without look-ups. The Log gets the program's standard error.
func Couriertcpd(t testing.TB, o TCPD) *Process {
	t.Helper()
	log := new(Log)
	return couriertcpd(t, o, log, log)
}

// couriertcpd is Couriertcpd with a Log that others may write to as well; the output goes to out.
func couriertcpd(t testing.TB, o TCPD, log *Log, out io.Writer) *Process {
	t.Helper()
	args := []string{
		"/usr/sbin/couriertcpd",
		"-address=" + o.Addr,
		"-maxprocs=4000",
		"-maxperip=4000",
		"-nodnslookup",
		"-noidentlookup",
	}
	args = append(args, o.Options...)
	args = append(append(args, strconv.Itoa(o.Port)), o.Program...)
	// A couriertcpd that has ended may have left a process that it had just forked and that still has its
	// socket.
	Eventually(func() bool { return !Listening(t, hostPort(o.Addr, o.Port)) })
	p := startLogging(t, underSettings(o, args), log, out)
	p.WaitListen(t, hostPort(o.Addr, o.Port))
	return p
}

// underSettings is the command args with the environment that Courier's start scripts make of o.
func underSettings(o TCPD, args []string) *exec.Cmd {
	script := ""
	if !o.Clean {
		script = fmt.Sprintf(
			"set -a; . /etc/courier/%[1]s; . /etc/courier/%[1]s-ssl; IMAP_STARTTLS=$IMAPDSTARTTLS; "+
				"POP3_STARTTLS=$POP3_STARTTLS; ",
			o.Config,
		)
	}
	script += `exec env "$@"`
	shell := append([]string{"-i"}, baseEnv()...)
	shell = append(append(shell, "/bin/sh", "-c", script, "sh"), o.Env.List()...)
	cmd := exec.Command("/usr/bin/env", append(shell, args...)...)
	// Like a service manager: root without supplementary groups.
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{}}
	return cmd
}

// CourierMailhost runs Courier's own IMAP and POP3 service on addr, ports 143 and 110. It asks the auth
// daemon on CourierAuthSocket and serves every account from its home, whatever its mailhost option says.
func CourierMailhost(t testing.TB, addr string) (imap, pop3 *Process) {
	t.Helper()
	return IMAP.UnderCourier(t, addr, CourierIMAPLogin, Env{"IMAP_PROXY": "0"}),
		POP3.UnderCourier(t, addr, CourierPOP3Login, Env{"POP3_PROXY": "0"})
}
