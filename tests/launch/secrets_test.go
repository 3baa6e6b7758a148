package launch

import (
	"fmt"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"mailproxy/tests/harness"
)

// secret is a password that looks different in every way of quoting, secretMark the part that stays the same,
// quoted how an IMAP client sends it.
const (
	secret     = `Ge"heim\4711`
	secretMark = "heim"
	quoted     = `"Ge\"heim\\4711"`
)

// sayings are ways to give a server the secret, right and wrong.
var sayings = map[string][]string{
	"IMAP": {
		"a1 LOGIN there " + quoted, "a1 LOGIN there " + secret, "a1 LOGIN there " + quoted + " more",
		`a1 LOGIN there "` + secret, "a1 LOGIN nobody " + quoted, "a1 AUTHENTICATE PLAIN " + secret, secret +
			" LOGIN a b",
	},
	"POP3": {
		"USER there\r\nPASS " + secret, "PASS " + secret, "PASS " + secret + "x", "USER x\r\nPASS " + secret,
		"AUTH PLAIN " + secret, secret,
	},
}

// A password is found in no log, not even with the highest DEBUG_LOGIN, and in nothing that other users can
// read of a process, or that the programs which are started find in their environment.
func TestSecrets(t *testing.T) {
	harness.Userdb(t, harness.Account{Name: "there", Password: secret, Options: "mailhost=" + mailhost},
		harness.Account{Name: "here", Password: secret, Home: harness.NewHome(t)})
	harness.CourierAuthdaemond(t, "authuserdb", nil)
	// The mailhosts repeat what they do not like.
	for port, words := range map[string][2]string{"143": {"* OK [CAPABILITY IMAP4rev1] hello\r\n", "a1 NO"},
		"110": {"+OK hello\r\n", "-ERR"}} {
		harness.NewFakeMailhost(t, mailhost+":"+port, func(c net.Conn) error {
			io.WriteString(c, words[0])
			buf := make([]byte, 1000)
			for {
				n, err := c.Read(buf)
				if err != nil {
					return nil
				}
				line := strings.TrimSpace(string(buf[:n]))
				if strings.HasPrefix(line, "USER ") {
					io.WriteString(c, "+OK\r\n")
					continue
				}
				fmt.Fprintf(c, "%s what is %s, and what is %q\r\n", words[1], line, line)
			}
		})
	}
	spy := filepath.Join(harness.Dir(t), "spy")
	harness.WriteFile(t, spy, "#!/bin/sh\necho \"spy: $*\" >&2\nenv >&2\n", 0o755)
	for _, s := range sides {
		program := append(s.arguments(t)[:1], spy, "Maildir")
		p := harness.Tcpserver(t,
			harness.Listen{Addr: proxy, Port: s.Port, Env: s.env("DEBUG_LOGIN=2"), Program: program})
		here := map[string]string{"IMAP": "a1 LOGIN here " + quoted, "POP3": "USER here\r\nPASS " + secret}[s.Name]
		for _, saying := range append(sayings[s.Name], here) {
			conn := harness.Connect(t, s.At(proxy))
			io.WriteString(conn, saying+"\r\n")
			if err := conn.CloseWrite(); err != nil {
				t.Error(err)
			}
			io.ReadAll(conn)
			conn.Close()
		}
		p.Log.Wait(t, `^spy: Maildir`)
		p.Log.Wait(t, `127\.0\.0\.2.* what is `)
		harness.NoneLeft(t, s.Program)
		p.Stop()
		if text := p.Log.String(); strings.Contains(text, secretMark) {
			t.Errorf("%s: the password is in the log:\n%s", s.Name, text)
		}
	}
}

// An authdaemond that is started for one question gets its socket and the log, and nothing that the launcher
// left open.
func TestOneShotDescriptors(t *testing.T) {
	spy := filepath.Join(harness.Dir(t), "spy")
	harness.WriteFile(t, spy, "#!/bin/sh\nexec ls -m /proc/self/fd >&2\n", 0o755)
	for _, s := range sides {
		program := append([]string{"/bin/sh", "-c", `exec 7</etc/passwd; exec "$@"`, "sh"}, s.arguments(t)...)
		p := harness.Tcpserver(t, harness.Listen{Addr: proxy, Port: s.Port, Program: program,
			Env: s.env("AUTHDAEMON_SOCKET=/nonexistent/socket", "AUTHDAEMON_PROGRAM="+spy)})
		conn := harness.Connect(t, s.At(proxy))
		io.WriteString(conn, map[string]string{"IMAP": "a LOGIN x y\r\n", "POP3": "USER x\r\nPASS y\r\n"}[s.Name])
		// 3 is the directory that ls reads.
		p.Log.Wait(t, `^0, 1, 2, 3$`)
		conn.Close()
		p.Stop()
	}
}

// The memory of our programs is nobody's to read, even where they run as an ordinary user.
func TestNoCore(t *testing.T) {
	harness.Authdaemonrc(t, "authuserdb", nil)
	for _, args := range [][]string{
		{harness.Bin(t, "imapd-proxy"), "/bin/true", "Maildir"},
		{harness.Bin(t, "pop3d-proxy"), "/bin/true", "Maildir"},
	} {
		nobody := &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		pid := greeting(t, nobody, args...)
		var st unix.Stat_t
		if err := unix.Stat(fmt.Sprintf("/proc/%d/environ", pid), &st); err != nil {
			t.Error(err)
		}
		// So the kernel shows a process that leaves no core, proc(5).
		if st.Uid != 0 {
			t.Errorf("%s: its memory belongs to user %d", filepath.Base(args[0]), st.Uid)
		}
	}
}

// greeting starts a front end on two pipes and returns its process when it has greeted. It ends with the
// test.
func greeting(t *testing.T, attr *syscall.SysProcAttr, args ...string) (pid int) {
	t.Helper()
	command := exec.Command(args[0], args[1:]...)
	command.Env, command.SysProcAttr = []string{}, attr
	in, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		_ = command.Wait()
	})
	if _, err := out.Read(make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	return command.Process.Pid
}
