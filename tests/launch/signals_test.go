package launch

import (
	"bufio"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"mailproxy/tests/harness"
	"mailproxy/tests/testcert"
)

// A signal before the login, at the earliest moment at which a client can know that somebody is there, ends
// the program with status 0: while it waits for the client, for a TLS handshake, for a PROXY header.
func TestSignalStatus(t *testing.T) {
	cert := testcert.Write(t, filepath.Join(t.TempDir(), "cert.pem"), testcert.CA(t, "x").PEM(t))
	for _, s := range sides {
		for _, test := range []struct {
			name, greeting string
			env            []string
			farewell       string
		}{
			{"dialogue", map[string]string{"IMAP": "* OK ", "POP3": "+OK "}[s.Name], nil,
				map[string]string{"IMAP": "* BYE ", "POP3": "-ERR "}[s.Name]},
			{"handshake", "", []string{s.Name + "_TLS=1", "TLS_CERTFILE=" + cert}, ""},
			{"header", "", []string{"HAPROXY=1", "HAPROXY_ALLOW=127.0.0.0/8"}, ""},
		} {
			for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGHUP} {
				conn, file, command, log := begin(t, s, test.env...)
				in := bufio.NewReader(conn)
				if test.greeting != "" {
					if line, err := in.ReadString('\n'); err != nil || !strings.HasPrefix(line, test.greeting) {
						t.Fatalf("%s: %q %v", s.Name, line, err)
					}
				} else {
					waitForConnection(t, file)
				}
				file.Close()
				if err := command.Process.Signal(signal); err != nil {
					t.Fatal(err)
				}
				rest, err := io.ReadAll(in)
				if err != nil || !strings.HasPrefix(string(rest), test.farewell) || test.farewell == "" && len(rest) > 0 {
					t.Errorf("%s %s %v: %q %v", s.Name, test.name, signal, rest, err)
				}
				if err := command.Wait(); err != nil {
					t.Errorf("%s %s %v: %v\n%s", s.Name, test.name, signal, err, log)
				}
			}
		}
	}
}

// begin starts a front end on a TCP connection, and returns the client's end and a copy of the program's, to
// be closed.
func begin(t *testing.T, s side, env ...string) (net.Conn, *os.File, *exec.Cmd, *strings.Builder) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	conn := harness.Connect(t, listener.Addr().String())
	conn.SetDeadline(time.Now().Add(time.Minute))
	accepted, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer accepted.Close()
	// Small buffers: what is on its way when a program is told to end has to arrive within a second.
	if err := errors.Join(conn.SetReadBuffer(32<<10),
		accepted.(*net.TCPConn).SetWriteBuffer(32<<10)); err != nil {
		t.Fatal(err)
	}
	file, err := accepted.(*net.TCPConn).File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	arguments := s.arguments(t)
	command, log := exec.Command(arguments[0], arguments[1:]...), &strings.Builder{}
	command.Env = append(env, "GORACE="+os.Getenv("GORACE"))
	command.Stdin, command.Stdout, command.Stderr = file, file, log
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { command.Process.Kill() })
	return conn, file, command, log
}

// waitForConnection returns when the program has taken its connection over, which it makes non-blocking: it
// listens for signals then. file is a copy of the connection.
func waitForConnection(t *testing.T, file *os.File) {
	t.Helper()
	raw, err := file.SyscallConn() // Fd would make the connection blocking again, the program's, too
	if err != nil {
		t.Fatal(err)
	}
	if !harness.Eventually(func() bool {
		flags := 0
		cerr := raw.Control(func(fd uintptr) { flags, err = unix.FcntlInt(fd, unix.F_GETFL, 0) })
		return cerr == nil && err == nil && flags&unix.O_NONBLOCK != 0
	}) {
		t.Fatal("the program does not take its connection")
	}
}
