package launch

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"mailproxy/tests/harness"
	"mailproxy/tests/testcert"
)

// A signal in a relayed session ends the program with status 0: it writes nothing of its own into the
// stream, delivers what it has taken from the mailhost, and closes both connections. The client does not
// read until then, so that everything on the way is full.
func TestSignalRelayed(t *testing.T) {
	cert := testcert.Write(t, filepath.Join(t.TempDir(), "cert.pem"), testcert.CA(t, "x").PEM(t))
	harness.UserdbTextOnly(t, harness.Account{Name: "there", Password: "pw", Options: "mailhost=" + mailhost})
	harness.Authdaemonrc(t, "authuserdb", nil)
	for _, s := range sides {
		stuck := make(chan int64, 1)
		harness.NewFakeMailhost(t, s.At(mailhost), func(conn net.Conn) error { return pours(t, s, conn, stuck) })
		for _, encrypted := range []bool{false, true} {
			for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGHUP} {
				t.Run(fmt.Sprintf("%s/TLS=%v/%v", s.Name, encrypted, signal), func(t *testing.T) {
					s.signalRelayed(t, encrypted, signal, cert, stuck)
				})
			}
		}
	}
}

func (s side) signalRelayed(t *testing.T, encrypted bool, signal syscall.Signal, cert string,
	stuck <-chan int64) {
	env := []string{s.Name + "_PROXY=1", "AUTHDAEMON_SOCKET=/nonexistent/socket", "RELAY_SOCKET="}
	if encrypted {
		env = append(env, s.Name+"_TLS=1", "TLS_CERTFILE="+cert)
	}
	conn, file, command, log := begin(t, s, env...)
	file.Close()
	if encrypted {
		conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
	}
	in := bufio.NewReaderSize(conn, 16)
	last, answers, login := "a OK", 1, "a LOGIN there pw\r\n"
	if s.Name == "POP3" {
		last, answers, login = "+OK", 3, "USER there\r\nPASS pw\r\n"
	}
	if _, err := io.WriteString(conn, login); err != nil {
		t.Fatal(err)
	}
	for answers > 0 {
		line, err := in.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(line, last) {
			answers--
		}
	}
	if _, err := io.WriteString(conn, "POUR\r\n"); err != nil {
		t.Fatal(err)
	}
	poured := <-stuck
	if _, err := in.Peek(1); err != nil { // the program has begun to pass it on
		t.Fatal(err)
	}
	if err := command.Process.Signal(signal); err != nil {
		t.Fatal(err)
	}
	got, err := matches(in)
	if err != nil {
		t.Errorf("after %d bytes of %d: %v", got, poured, err)
	}
	if err := command.Wait(); err != nil {
		t.Errorf("%v\n%s", err, log)
	}
	line := regexp.MustCompile(`(?m)^INFO: LOGOUT, user=there, .*, rcvd=(\d+), sent=(\d+), `).
		FindStringSubmatch(log.String())
	if line == nil || strings.Contains(log.String(), "broken off") {
		t.Fatalf("log:\n%s", log)
	}
	// rcvd and sent are what the other side's kernel has taken.
	if rcvd, _ := strconv.Atoi(line[1]); rcvd != len("POUR\r\n") {
		t.Error(line[0])
	}
	if sent, _ := strconv.ParseInt(line[2], 10, 64); got == 0 || sent != got {
		t.Errorf("the client has %d bytes: %s", got, line[0])
	}
}

// pours is a mailhost that lets a client in, and after its first command sends without end. It says when
// nothing moves any more, and how much it has sent by then; the proxy must close its connection.
func pours(t *testing.T, s side, conn net.Conn, stuck chan<- int64) error {
	if err := harness.Scripted(t, 0, s.Mailhost+"C: POUR")(conn); err != nil {
		stuck <- 0
		return err
	}
	block := make([]byte, 64<<10)
	sent, told := int64(0), false
	for {
		for i := range block {
			block[i] = pattern(sent + int64(i))
		}
		wait := 500 * time.Millisecond
		if told {
			wait = harness.Patience
		}
		_ = conn.SetWriteDeadline(time.Now().Add(wait))
		n, err := conn.Write(block)
		sent += int64(n)
		switch timeout, isNet := err.(net.Error); {
		case err == nil:
		case isNet && timeout.Timeout() && !told:
			told = true
			stuck <- sent
		case isNet && timeout.Timeout():
			t.Errorf("the mailhost's connection stays open")
			return err
		default: // closed
			if !told {
				stuck <- sent
			}
			return nil
		}
	}
}

// pattern is byte i of what the mailhost sends.
func pattern(i int64) byte { return byte(i ^ i>>8 ^ i>>16) }

// matches reads what the mailhost has sent, to the end of the stream, and returns how much it is.
func matches(in io.Reader) (n int64, err error) {
	buf := make([]byte, 32<<10)
	for {
		k, err := in.Read(buf)
		for i, b := range buf[:k] {
			if b != pattern(n+int64(i)) {
				return n, fmt.Errorf("another byte than the mailhost has sent: %q", buf[i:min(k, i+50)])
			}
		}
		n += int64(k)
		if err == io.EOF {
			return n, nil
		}
		if err != nil {
			return n, err
		}
	}
}
