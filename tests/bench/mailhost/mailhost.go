// Package mailhost is the mailhost of measurements, in a process of its own: its work and its half of the
// file descriptors are not the client's. A real one would only add noise.
package mailhost

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"mailproxy/tests/harness"
)

// Piece is how much it reads and writes at once.
const Piece = 64 << 10

// name is what the test's own program is called when it is the mailhost.
const name = "bench-mailhost"

// Started says whether this process is to be the mailhost: TestMain then returns what Run returns.
func Started() bool { return os.Args[0] == name }

// Start starts it at an address, ports 143 and 110.
func Start(t testing.TB, addr string) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Args = []string{name, addr}
	p := harness.Start(t, cmd)
	if !harness.Eventually(func() bool {
		return p.Ended() || harness.Listening(t, addr+":143") && harness.Listening(t, addr+":110")
	}) || p.Ended() {
		t.Fatalf("the mailhost does not listen:\n%s", p.Log)
	}
}

// Run is the mailhost. It returns the exit status when it cannot go on.
func Run() int {
	RaiseLimit()
	failed := make(chan error)
	for port, serve := range map[string]func(net.Conn) error{":143": serveIMAP, ":110": servePOP3} {
		l, err := net.Listen("tcp", os.Args[1]+port)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					failed <- err
					return
				}
				go func() {
					defer conn.Close()
					_ = serve(conn) // a client that goes is no fault
				}()
			}
		}()
	}
	fmt.Fprintln(os.Stderr, <-failed)
	return 1
}

// RaiseLimit takes all file descriptors that this process may have, and leaves its children's alone.
func RaiseLimit() {
	var l unix.Rlimit
	if unix.Prlimit(0, unix.RLIMIT_NOFILE, nil, &l) == nil {
		l.Cur = l.Max
		_ = unix.Prlimit(0, unix.RLIMIT_NOFILE, &l, nil)
	}
}

// serveIMAP lets everybody in, answers every command, and knows two of its own: BULK <bytes> sends that many,
// SINK <bytes> takes that many.
func serveIMAP(conn net.Conn) error {
	in := bufio.NewReaderSize(conn, 256)
	_, err := io.WriteString(conn, "* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR] ready\r\n")
	for err == nil {
		var line string
		if line, err = in.ReadString('\n'); err != nil {
			break
		}
		words := strings.Fields(line)
		if len(words) < 2 {
			continue
		}
		untagged := ""
		switch strings.ToUpper(words[1]) {
		case "LOGIN":
			for err == nil && strings.HasSuffix(strings.TrimSpace(line), "}") {
				line, err = proceed(conn, in)
			}
		case "AUTHENTICATE":
			if len(words) == 3 {
				_, err = proceed(conn, in)
			}
		case "CAPABILITY":
			untagged = "* CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR\r\n"
		case "BULK":
			err = Send(conn, amount(words))
		case "SINK":
			err = take(in, amount(words))
		case "LOGOUT":
			_, err = io.WriteString(conn, "* BYE bye\r\n"+words[0]+" OK bye\r\n")
			return err
		}
		if err == nil {
			_, err = io.WriteString(conn, untagged+words[0]+" OK done\r\n")
		}
	}
	return err
}

// servePOP3 lets everybody in and answers every command with +OK. It knows BULK and SINK as well.
func servePOP3(conn net.Conn) error {
	in := bufio.NewReaderSize(conn, 256)
	_, err := io.WriteString(conn, "+OK ready\r\n")
	for err == nil {
		var line string
		if line, err = in.ReadString('\n'); err != nil {
			break
		}
		words := strings.Fields(strings.ToUpper(line))
		if len(words) == 0 {
			continue
		}
		switch {
		case words[0] == "AUTH" && len(words) == 2:
			_, err = proceed(conn, in)
		case words[0] == "BULK":
			err = Send(conn, amount(words))
		case words[0] == "SINK":
			err = take(in, amount(words))
		}
		if err != nil {
			break
		}
		answer := "+OK\r\n"
		if words[0] == "CAPA" {
			answer = "+OK\r\nUSER\r\nSASL PLAIN\r\n.\r\n"
		}
		if _, err = io.WriteString(conn, answer); words[0] == "QUIT" {
			return err
		}
	}
	return err
}

// proceed has the client send the rest of a command.
func proceed(conn net.Conn, in *bufio.Reader) (string, error) {
	if _, err := io.WriteString(conn, "+ \r\n"); err != nil {
		return "", err
	}
	return in.ReadString('\n')
}

// Send writes so many bytes.
func Send(w io.Writer, n int) error {
	block := bytes.Repeat([]byte("0123456789abcdef"), Piece/16)
	for n > 0 {
		written, err := w.Write(block[:min(n, len(block))])
		if err != nil {
			return err
		}
		if written == 0 {
			return errors.New("short write")
		}
		n -= written
	}
	return nil
}

func take(r io.Reader, n int) error {
	block := make([]byte, Piece)
	for n > 0 {
		read, err := r.Read(block[:min(n, len(block))])
		if err != nil {
			return err
		}
		n -= read
	}
	return nil
}

// amount is the last word.
func amount(words []string) int {
	if len(words) == 0 {
		return 0
	}
	n, _ := strconv.Atoi(words[len(words)-1])
	return n
}
