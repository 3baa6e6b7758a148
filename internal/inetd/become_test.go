package inetd

import (
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

// becomeProgram becomes the echo program after it has taken everything over.
func becomeProgram([]string) int {
	l, err := open()
	if err != nil {
		return 1
	}
	s := NewSettings(os.Environ())
	s["INETD_TEST_PROGRAM"] = "echo"
	l.Log.Errf("%v", l.Become("/proc/self/exe", nil, s.Environ()))
	return 2
}

// The program that another one becomes is started as that one was, however that was.
func TestBecome(t *testing.T) {
	const want = "INFO: opened\nINFO: read: EOF\n"
	t.Run("socket", func(t *testing.T) {
		conn, file := tcpPair(t)
		var log strings.Builder
		command := program(t, "become")
		command.Stdin, command.Stdout, command.Stderr = file, file, &log
		talk(t, command, conn, file)
		if log.String() != want {
			t.Errorf("log %q", &log)
		}
	})
	t.Run("xinetd", func(t *testing.T) {
		conn, file := tcpPair(t)
		command := program(t, "become")
		command.Stdin, command.Stdout, command.Stderr = file, file, file
		talk(t, command, conn, file)
	})
	t.Run("pipes", func(t *testing.T) {
		inR, inW, _ := os.Pipe()
		outR, outW, _ := os.Pipe()
		var log strings.Builder
		command := program(t, "become")
		command.Stdin, command.Stdout, command.Stderr = inR, outW, &log
		talk(t, command, twoPipes{inW, outR}, inR, outW)
		if log.String() != want {
			t.Errorf("log %q", &log)
		}
	})
	t.Run("systemd", func(t *testing.T) {
		conn, file := tcpPair(t)
		var log strings.Builder
		command := exec.Command("/bin/sh", "-c", `LISTEN_PID=$$ LISTEN_FDS=1 exec "$0"`, "/proc/"+strconv.Itoa(os.Getpid())+"/exe")
		command.Env = []string{"INETD_TEST_PROGRAM=become"}
		command.ExtraFiles, command.Stderr = []*os.File{file}, &log
		talk(t, command, conn, file)
		if log.String() != want {
			t.Errorf("log %q", &log)
		}
	})
}

// What can not be become is an error that names it, and the connection still works.
func TestBecomeFails(t *testing.T) {
	near, far, err := Pair(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer near.Close()
	defer far.Close()
	// Become would put the connection in the place of this process's own standard input and output.
	l := &Launch{Conn: unusable{near}}
	if err := l.Become("/nonexistent/program", nil, nil); err == nil || !strings.Contains(err.Error(), "unusable") {
		t.Error(err)
	}
}

// unusable is a connection without a descriptor.
type unusable struct{ inner *Socket }

func (u unusable) Read(p []byte) (int, error)         { return u.inner.Read(p) }
func (u unusable) Write(p []byte) (int, error)        { return u.inner.Write(p) }
func (u unusable) Close() error                       { return u.inner.Close() }
func (u unusable) CloseWrite() error                  { return u.inner.CloseWrite() }
func (u unusable) LocalAddr() net.Addr                { return u.inner.LocalAddr() }
func (u unusable) RemoteAddr() net.Addr               { return u.inner.RemoteAddr() }
func (u unusable) SetDeadline(t time.Time) error      { return u.inner.SetDeadline(t) }
func (u unusable) SetReadDeadline(t time.Time) error  { return u.inner.SetReadDeadline(t) }
func (u unusable) SetWriteDeadline(t time.Time) error { return u.inner.SetWriteDeadline(t) }
