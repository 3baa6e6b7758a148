package idle

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"mailproxy/tests/harness"
)

const mailhostAddr = "127.0.0.2:143"

// startMailhost runs the mailhost in a process of its own: its half of the descriptors is then not the
// client's.
func startMailhost(b *testing.B) {
	b.Helper()
	exe, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Args[0] = mailhostName
	harness.Start(b, cmd)
	if !harness.Eventually(func() bool {
		c, err := net.Dial("tcp", mailhostAddr)
		if err == nil {
			c.Close()
		}
		return err == nil
	}) {
		b.Fatal("no mailhost")
	}
}

const mailhostName = "bench-mailhost"

// runMailhost lets everybody in, and knows NOOP and two commands of its own: BULK <bytes> sends that many,
// SINK <bytes> takes that many.
func runMailhost() int {
	raiseLimit()
	l, err := net.Listen("tcp", mailhostAddr)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	for {
		c, err := l.Accept()
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		go serve(c)
	}
}

func serve(c net.Conn) {
	defer c.Close()
	_, _ = io.WriteString(c, "* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR] ready\r\n")
	r := bufio.NewReaderSize(c, 256)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		switch strings.ToUpper(f[1]) {
		case "LOGIN", "AUTHENTICATE":
			for strings.HasSuffix(strings.TrimSpace(line), "}") || strings.EqualFold(f[1], "AUTHENTICATE") && len(f) == 3 {
				_, _ = io.WriteString(c, "+ \r\n")
				if line, err = r.ReadString('\n'); err != nil {
					return
				}
				if strings.EqualFold(f[1], "AUTHENTICATE") {
					break
				}
			}
		case "CAPABILITY":
			_, _ = io.WriteString(c, "* CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR\r\n")
		case "BULK":
			block := bytes.Repeat([]byte("0123456789abcdef"), piece/16)
			for n := amount(f); n > 0; {
				w, err := c.Write(block[:min(n, len(block))])
				if err != nil {
					return
				}
				n -= w
			}
		case "SINK":
			block := make([]byte, piece)
			for n := amount(f); n > 0; {
				k, err := r.Read(block[:min(n, len(block))])
				if err != nil {
					return
				}
				n -= k
			}
		}
		if _, err := io.WriteString(c, f[0]+" OK done\r\n"); err != nil {
			return
		}
	}
}

func amount(f []string) int {
	if len(f) < 3 {
		return 0
	}
	n, _ := strconv.Atoi(f[2])
	return n
}
