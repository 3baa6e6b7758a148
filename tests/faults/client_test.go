package faults

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"mailproxy/tests/harness"
)

// hostile is a client that has not logged in and does its worst. It sends first once and then again and
// again.
type hostile struct {
	name, protocol string
	first, again   string
	reads          bool // else what the server says piles up
	counted        bool // its commands are counted as they are by default; else a million of them are let pass
}

var hostiles = []hostile{
	{"a line without end", "IMAP", "", strings.Repeat("x", 1<<16), true, false},
	{"a command line without end", "IMAP", "a LOGIN ", strings.Repeat("x ", 1<<15), true, false},
	{"NOOP, and does not read", "IMAP", "", strings.Repeat("a NOOP\r\n", 5000), false, false},
	{"CAPABILITY, and does not read", "IMAP", "", strings.Repeat("a CAPABILITY\r\n", 5000), false, false},
	{
		"nine errors and a NOOP", "IMAP", "", strings.Repeat(strings.Repeat("a X\r\n", 9)+"a NOOP\r\n", 500), true,
		false,
	},
	{"literals without end", "IMAP", "a ID (", "{8192+}\r\n" + strings.Repeat("y", 8192) + " ", true, false},
	{
		"large literals", "IMAP", "",
		"a LOGIN {1000000+}\r\n" + strings.Repeat("z", 1000000) + " {2+}\r\nxx\r\na NOOP\r\n", true, false,
	},
	{
		"a SASL response without end", "IMAP", "a AUTHENTICATE PLAIN\r\n", strings.Repeat("QUJD", 1<<14), true,
		false,
	},
	{"logins, and does not read", "IMAP", "", strings.Repeat("a LOGIN u p\r\n", 5000), false, false},
	{
		"ID without end", "IMAP", "", strings.Repeat(`a ID ("name" "`+strings.Repeat("n", 1000)+"\")\r\n", 50),
		true, false,
	},
	{"more commands than a client needs", "IMAP", "", "a NOOP\r\n", true, true},
	{"a line without end", "POP3", "", strings.Repeat("x", 1<<16), true, false},
	{"CAPA, and does not read", "POP3", "", strings.Repeat("CAPA\r\n", 5000), false, false},
	{"long names", "POP3", "", "USER " + strings.Repeat("u", 12000) + "\r\n", true, false},
	{"a SASL response without end", "POP3", "AUTH PLAIN\r\n", strings.Repeat("QUJD", 1<<14), true, false},
	{"logins, and does not read", "POP3", "", strings.Repeat("USER u\r\nPASS p\r\n", 5000), false, false},
	{"more commands than a client needs", "POP3", "", "CAPA\r\n", true, true},
}

// maxMemory is what a process may hold that serves such a client, in bytes: its program, and a few MiB.
const maxMemory = 24 << 20

// maxLog is what such a client may have written to the log, besides its failed logins, in bytes.
const maxLog = 10 << 10

// A client before its login can neither make the process grow nor keep it longer than LOGIN_TIMEOUT and a
// farewell allow, nor fill the log: what it leaves is the line about the end, and a few KiB besides its
// failed logins.
func TestHostileClients(t *testing.T) {
	socket := harness.Dir(t) + "/socket"
	fakeDaemon(t, socket, answer("FAIL\n", nil))
	for _, h := range hostiles {
		t.Run(h.protocol+"/"+h.name, func(t *testing.T) {
			t.Parallel()
			h.run(t, socket)
		})
	}
}

func (h hostile) run(t *testing.T, socket string) {
	program := map[string]string{"IMAP": "imapd-proxy", "POP3": "pop3d-proxy"}[h.protocol]
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	theirs, ours := os.NewFile(uintptr(fds[0]), "server"), os.NewFile(uintptr(fds[1]), "client")
	conn, err := net.FileConn(ours)
	ours.Close()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	// Without the race detector, which needs memory of its own.
	cmd := exec.Command(harness.PlainBin(t, program), "/bin/true", "Maildir")
	cmd.Env = []string{
		"AUTHDAEMON_SOCKET=" + socket, "LOGIN_TIMEOUT=2", "LOGIN_FAIL_DELAY=0", "IMAP_ID_FIELDS=3",
	}
	end := "^(DEBUG: Disconnected|INFO: TIMEOUT|NOTICE: TOO MANY COMMANDS WITHOUT A LOGIN), "
	if h.counted {
		end = `^NOTICE: TOO MANY COMMANDS WITHOUT A LOGIN \(LOGIN_MAX_COMMANDS=100\), `
	} else {
		cmd.Env = append(cmd.Env, "LOGIN_MAX_COMMANDS=1000000")
	}
	cmd.Stdin, cmd.Stdout = theirs, theirs
	p := harness.Start(t, cmd)
	theirs.Close()
	start := time.Now()
	if h.reads {
		go io.Copy(io.Discard, conn)
	}
	most := peak(cmd.Process.Pid) // a client that is shown out soon may be so before the next look
	go func() {
		text := h.first
		for {
			if _, err := io.WriteString(conn, text); err != nil {
				return
			}
			text = h.again
		}
	}()
	for !p.Ended() && time.Since(start) < waitLimit {
		most = max(most, peak(cmd.Process.Pid))
		time.Sleep(20 * time.Millisecond) // between two looks at its size
	}
	took := time.Since(start)
	p.Wait(t)
	if took > harness.Patience {
		t.Errorf("served for %v", took)
	}
	if most == 0 || most > maxMemory {
		t.Errorf("grew to %d KiB", most>>10)
	}
	t.Logf("%d KiB, %v", most>>10, took.Round(time.Millisecond))
	p.Log.WaitN(t, 1, end)
	kept := 0
	for _, line := range p.Log.Find("^") {
		if !strings.Contains(line, "LOGIN FAILED") {
			kept += len(line) + 1
		}
	}
	if kept > maxLog {
		t.Errorf("%d bytes of log besides the failed logins", kept)
	}
}

// peak is the most memory that a process has ever held, in bytes; 0 when it has ended.
func peak(pid int) int {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(text), "VmHWM:")
	line, _, _ := strings.Cut(rest, "\n")
	kib, _ := strconv.Atoi(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(line), "kB")))
	return kib << 10
}

// A client that keeps its connection after the mailhost has closed the session does not keep the session, nor
// the proxy's process: everything was delivered, and a second later it is over, in order.
func TestClientStays(t *testing.T) {
	socket := harness.Dir(t) + "/socket"
	fakeDaemon(
		t,
		socket,
		answer("UID=8\nGID=8\nHOME=/tmp\nADDRESS=u\nPASSWD2=pw\nOPTIONS=mailhost="+good+"\n.\n", nil),
	)
	harness.EachMode(t, func(t *testing.T, m *harness.Mode) {
		for _, p := range protocols {
			t.Run(p.Name, func(t *testing.T) {
				over := p.Mailhost
				harness.NewFakeMailhost(t, p.At(good), harness.Scripted(t, 0, over+"S: bye"))
				front := p.front(t, m, control, harness.Env{"AUTHDAEMON_SOCKET": socket})
				conn := harness.Connect(t, p.At(control))
				conn.SetDeadline(time.Now().Add(waitLimit))
				login := map[string]string{"IMAP": "a LOGIN u pw\r\n", "POP3": "USER u\r\nPASS pw\r\n"}[p.Name]
				io.WriteString(conn, login)
				if said, err := io.ReadAll(conn); err != nil || !strings.HasSuffix(string(said), "bye\r\n") {
					t.Errorf("%q, %v", said, err)
				}
				front.Ends(p.Name).WaitN(t, 1,
					`^INFO: LOGOUT, user=u, .*, rcvd=0, sent=5, time=[1-9]\d*, protocol=`+p.Name)
				front.Broken(t, p.Name, 0, "")
				front.Idle(t)
			})
		}
	})
}
