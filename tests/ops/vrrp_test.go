package ops

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"mailproxy/tests/harness"
)

// host is a machine on a network with the island, with addresses and ports of its own; it has the island's
// files.
type host struct {
	name, cable string
	pid         string // of a process in its network
}

// network makes a bridge on which the island is 192.0.2.254.
func network(t *testing.T) {
	t.Helper()
	ip(t, "link add lan0 type bridge")
	t.Cleanup(func() { ip(t, "link del lan0") })
	ip(t, "address add 192.0.2.254/24 dev lan0")
	ip(t, "link set lan0 up")
}

// newHost connects a machine to the network.
func newHost(t *testing.T, name, addr string) *host {
	t.Helper()
	holder := harness.Start(t, exec.Command("unshare", "-n", "sleep", "infinity"))
	h := &host{name: name, cable: name + "c", pid: strconv.Itoa(holder.Cmd.Process.Pid)}
	own, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	if !harness.Eventually(
		func() bool { ns, err := os.Readlink("/proc/" + h.pid + "/ns/net"); return err == nil && ns != own }) {
		t.Fatal("no network namespace")
	}
	ip(t, "link add "+h.cable+" type veth peer name eth0 netns "+h.pid)
	ip(t, "link set "+h.cable+" master lan0 up")
	for _, command := range []string{"link set lo up", "address add " + addr + "/24 dev eth0",
		"link set eth0 up"} {
		harness.Run(t, "", "nsenter", append([]string{"-t", h.pid, "-n", "ip"}, strings.Fields(command)...)...)
	}
	return h
}

func ip(t *testing.T, command string) {
	t.Helper()
	harness.Run(t, "", "ip", strings.Fields(command)...)
}

// start runs a program on the machine.
func (h *host) start(t *testing.T, args ...string) *harness.Process {
	t.Helper()
	return harness.Start(t, exec.Command("nsenter", append([]string{"-t", h.pid, "-n"}, args...)...))
}

// launcher serves IMAP on all addresses of the machine.
func (h *host) launcher(t *testing.T) *harness.Process {
	t.Helper()
	return h.start(t, "env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "IMAP_PROXY=1",
		"AUTHDAEMON_SOCKET="+harness.CourierAuthSocket, "tcpserver", "-HRl0", "0", "143",
		harness.PlainBin(t, "imapd-proxy"), harness.CourierIMAPD, "Maildir")
}

// resident serves IMAP on all addresses of the machine in one process.
func (h *host) resident(t *testing.T) *harness.Process {
	t.Helper()
	return h.start(t, "env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "IMAP_PROXY=1", "MAXUNAUTH=1000",
		"RELAY_SOCKET=", "AUTHDAEMON_SOCKET="+harness.CourierAuthSocket, harness.PlainBin(t, "imapd-proxy"),
		"-user", harness.ResidentUser, "-listen", "0.0.0.0:143")
}

// has reports whether the machine has an address.
func (h *host) has(t *testing.T, addr string) bool {
	t.Helper()
	return strings.Contains(harness.Run(t, "", "nsenter", "-t", h.pid, "-n", "ip", "-br", "address"),
		" "+addr+"/")
}

// TestMovingAddresses: etc/keepalived as it is, on two proxies, one of them with a process for each
// connection and one resident. Each has its own address; one takes the other's when its front end is gone,
// and when its cable is pulled, and gives it back. Who connects to either address is served all the time but
// for the seconds of the move, and is logged with its own address.
func TestMovingAddresses(t *testing.T) {
	const first, second = "192.0.2.101", "192.0.2.102"
	network(t)
	harness.Userdb(t, harness.Account{Name: "user0", Password: "user0", Options: "mailhost=192.0.2.254"})
	harness.CourierAuthdaemond(t, "authuserdb", nil)
	harness.Dovecot(
		t,
		harness.DovecotOptions{
			Addr: "192.0.2.254", Accounts: []harness.Account{{Name: "user0", Password: "user0"}},
		},
	)

	conf := filepath.Join(harness.Dir(t), "keepalived")
	harness.Run(t, "", "cp", "-R", filepath.Join(harness.Root(t), "etc/keepalived"), conf)
	harness.Run(t, "", "chown", "-R", "root:root", conf)
	if err := unix.Mount(conf, "/etc/keepalived", "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount("/etc/keepalived", unix.MNT_DETACH) })

	var hosts [2]*host
	var launchers [2]*harness.Process
	for i, name := range []string{"proxy1", "proxy2"} {
		hosts[i] = newHost(t, name, fmt.Sprintf("192.0.2.%d", i+1))
		launchers[i] = []func(*testing.T) *harness.Process{hosts[i].resident, hosts[i].launcher}[i](t)
		pid := filepath.Join(harness.Dir(t), "pid")
		hosts[i].start(t, "keepalived", "-n", "-l", "-i", name, "-p", pid, "-r", pid+".vrrp", "-c", pid+".checkers")
	}
	where := func(what string, addr string, h *host) {
		t.Helper()
		began := time.Now()
		if !harness.Eventually(func() bool { return h.has(t, addr) }) {
			t.Fatalf("%s: %s has not got %s", what, h.name, addr)
		}
		if !harness.Eventually(func() bool { return login(addr) == nil }) {
			t.Fatalf("%s: %s does not serve %s: %v", what, h.name, addr, login(addr))
		}
		t.Logf("%s: a login at %s after %v", what, addr, time.Since(began).Round(time.Millisecond))
	}
	where("at first", first, hosts[0])
	where("at first", second, hosts[1])
	for _, l := range launchers {
		l.Log.Wait(t, `^INFO: LOGIN, user=user0, ip=\[(::ffff:)?192\.0\.2\.254\]`)
	}

	launchers[0].Stop()
	where("no front end on proxy1", first, hosts[1])
	where("no front end on proxy1", second, hosts[1])
	launchers[0] = hosts[0].resident(t)
	where("proxy1 is back", first, hosts[0])

	old := harness.Connect(t, second+":143")
	ip(t, "link set "+hosts[1].cable+" down")
	where("proxy2 is cut off", second, hosts[0])
	// Its connections end as soon as their clients say something.
	_ = old.SetDeadline(time.Now().Add(harness.Patience))
	_, _ = io.WriteString(old, "a NOOP\r\n")
	if _, err := io.Copy(io.Discard, old); !errors.Is(err, unix.ECONNRESET) {
		t.Errorf("a connection from before: %v", err)
	}
	ip(t, "link set "+hosts[1].cable+" up")
	where("proxy2 is back", second, hosts[1])
	if hosts[0].has(t, second) && !harness.Eventually(func() bool { return !hosts[0].has(t, second) }) {
		t.Error("both have the second address")
	}
	for _, l := range launchers {
		if lines := l.Log.Find(`LOGIN FAILED|^(WARN|ERR|CRIT)`); len(lines) > 0 {
			t.Errorf("in the log: %q", lines)
		}
	}
}

// login logs in as user0 and out again. A connection to a machine that is no longer there hangs.
func login(addr string) error {
	conn, err := net.DialTimeout("tcp", addr+":143", time.Second)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := session(conn, "user0", "user0", 2*harness.Patience/3); err != nil {
		return errors.Join(errors.New("no login"), err)
	}
	return nil
}
