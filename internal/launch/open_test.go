package launch

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"mailproxy/internal/systemd"

	"golang.org/x/sys/unix"
)

// The programs under test take their own file descriptors over and become others, so they are this test
// binary again.
func TestMain(m *testing.M) {
	if os.Getenv(echoVariable) != "" {
		os.Exit(echoProgram())
	}
	os.Exit(m.Run())
}

const echoVariable = "LAUNCH_TEST_ECHO"

// echoProgram says who its peer is and gives one line back.
func echoProgram() int {
	l, err := Open(Request{Name: "launch-test", Environ: os.Environ(), Stdin: os.Stdin, Stdout: os.Stdout,
		Stderr: os.Stderr, Passed: systemd.Files()})
	if err != nil {
		l.Log.Critf("%v", err)
		return 1
	}
	l.Log.Infof("opened")
	fmt.Println("this must not reach the client")
	fmt.Fprintf(l.Conn, "%s\n", l.Peer.RemoteIP)
	if err := l.Conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		l.Log.Errf("deadline: %v", err)
	}
	line, err := bufio.NewReader(l.Conn).ReadString('\n')
	if err != nil {
		l.Log.Errf("read: %v", err)
	}
	io.WriteString(l.Conn, line)
	l.Conn.CloseWrite()
	// What was open for writing is closed now, whatever it was; the other direction is not.
	_, err = l.Conn.Read(make([]byte, 1))
	l.Log.Infof("read: %v", err)
	return 0
}

// echo starts echoProgram. The caller closes what it gave it.
func echo() *exec.Cmd {
	command := exec.Command("/proc/self/exe")
	command.Env = []string{echoVariable + "=1", "PATH=/usr/bin:/bin", "GORACE=" + os.Getenv("GORACE")}
	return command
}

// socketPair returns a connection and the file to give to a program.
func socketPair(t *testing.T) (net.Conn, *os.File) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "ours"), os.NewFile(uintptr(fds[1]), "theirs")
	defer ours.Close()
	conn, err := net.FileConn(ours)
	if err != nil {
		t.Fatal(err)
	}
	conn.SetDeadline(time.Now().Add(time.Minute))
	t.Cleanup(func() { conn.Close(); theirs.Close() })
	return conn, theirs
}

// tcpPair is socketPair over TCP on the loopback.
func tcpPair(t *testing.T) (net.Conn, *os.File) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	conn, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer accepted.Close()
	file, err := accepted.(*net.TCPConn).File()
	if err != nil {
		t.Fatal(err)
	}
	conn.SetDeadline(time.Now().Add(time.Minute))
	t.Cleanup(func() { conn.Close(); file.Close() })
	return conn, file
}

func TestOpenSocket(t *testing.T) {
	for name, pair := range map[string]func(*testing.T) (net.Conn, *os.File){"unix": socketPair,
		"tcp": tcpPair} {
		t.Run(name, func(t *testing.T) {
			conn, file := pair(t)
			var log strings.Builder
			command := echo()
			command.Stdin, command.Stdout, command.Stderr = file, file, &log
			talk(t, command, conn, file)
			if got, want := log.String(), "INFO: opened\nINFO: read: EOF\n"; got != want {
				t.Errorf("log %q, want %q", got, want)
			}
		})
	}
}

// Under xinetd standard error is the connection: nothing but the program's own words may get there.
func TestOpenXinetd(t *testing.T) {
	conn, file := tcpPair(t)
	command := echo()
	command.Stdin, command.Stdout, command.Stderr = file, file, file
	talk(t, command, conn, file)
}

func TestOpenPipes(t *testing.T) {
	inR, inW, _ := os.Pipe()
	outR, outW, _ := os.Pipe()
	var log strings.Builder
	command := echo()
	command.Stdin, command.Stdout, command.Stderr = inR, outW, &log
	talk(t, command, twoPipes{inW, outR}, inR, outW)
	if got, want := log.String(), "INFO: opened\nINFO: read: EOF\n"; got != want {
		t.Errorf("log %q, want %q", got, want)
	}
}

type twoPipes struct{ in, out *os.File }

func (p twoPipes) Read(b []byte) (int, error)  { return p.out.Read(b) }
func (p twoPipes) Write(b []byte) (int, error) { return p.in.Write(b) }
func (p twoPipes) CloseWrite() error           { return p.in.Close() }

// talk runs the echo program and speaks with it. The program's files are closed here once it has them.
func talk(t *testing.T, command *exec.Cmd, conn io.ReadWriter, files ...*os.File) {
	t.Helper()
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		f.Close()
	}
	r := bufio.NewReader(conn)
	if greeting, err := r.ReadString('\n'); err != nil || !strings.HasSuffix(greeting, "127.0.0.1\n") {
		t.Fatalf("greeting %q, %v", greeting, err)
	}
	io.WriteString(conn, "hello\n")
	rest, err := io.ReadAll(r)
	if err != nil || string(rest) != "hello\n" {
		t.Errorf("rest %q, %v", rest, err)
	}
	conn.(interface{ CloseWrite() error }).CloseWrite()
	if err := command.Wait(); err != nil {
		t.Error(err)
	}
}

func TestOpenListenFD(t *testing.T) {
	conn, file := tcpPair(t)
	var log strings.Builder
	// LISTEN_PID has to be the program's own: the shell keeps its pid over exec.
	command := exec.Command("/bin/sh", "-c", `LISTEN_PID=$$ LISTEN_FDS=1 exec "$0"`,
		"/proc/"+strconv.Itoa(os.Getpid())+"/exe")
	command.Env = []string{echoVariable + "=1", "GORACE=" + os.Getenv("GORACE")}
	command.ExtraFiles, command.Stderr = []*os.File{file}, &log
	talk(t, command, conn, file)
	if got, want := log.String(), "INFO: opened\nINFO: read: EOF\n"; got != want {
		t.Errorf("log %q, want %q", got, want)
	}
}

// Deadlines have to work on pipes and to end a read that has begun.
func TestPipeDeadline(t *testing.T) {
	inR, inW, _ := os.Pipe()
	outR, outW, _ := os.Pipe()
	defer inW.Close()
	defer outR.Close()
	p, err := newPipes(inR, outW)
	if err != nil {
		t.Fatal(err)
	}
	inR.Close()
	outW.Close()
	defer p.Close()
	p.SetReadDeadline(time.Now().Add(30 * time.Millisecond))
	if _, err := p.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read: %v", err)
	}
	p.SetReadDeadline(time.Time{})
	time.AfterFunc(30*time.Millisecond, func() { p.SetReadDeadline(time.Unix(1, 0)) })
	if _, err := p.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("interrupted read: %v", err)
	}
	p.SetWriteDeadline(time.Now().Add(30 * time.Millisecond))
	if _, err := p.Write(make([]byte, 1<<20)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("write: %v", err)
	}
	outR.Close()
	p.SetWriteDeadline(time.Time{})
	if _, err := p.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) {
		t.Errorf("write to a closed pipe: %v", err)
	}
}
