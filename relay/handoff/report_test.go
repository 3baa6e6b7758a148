package handoff

import (
	"errors"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"mailproxy/relay"
	"mailproxy/tests/testlog"
)

// listenPackets is a relayd's socket with a queue of this length.
func listenPackets(t *testing.T, queue int) (fd int, path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "socket")
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, queue); err != nil {
		t.Fatal(err)
	}
	return fd, path
}

// accepted is the first packet of the next caller.
func accepted(t *testing.T, fd int) string {
	t.Helper()
	c, _, err := unix.Accept(fd)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(c)
	p := make([]byte, 4096)
	n, err := unix.Read(c, p)
	if err != nil {
		t.Fatal(err)
	}
	return string(p[:n])
}

// TestReport: the text of the message, which arrives although the sender is gone by then.
func TestReport(t *testing.T) {
	fd, path := listenPackets(t, 5)
	for _, tc := range []struct {
		r    relay.Report
		want string
	}{
		{relay.Report{Protocol: "IMAP", Result: relay.LoginRefused},
			"REPORT\nLOGIN_US=0\nMAILHOST=\nPROTOCOL=IMAP\nRESULT=refused\n\n"},
		{relay.Report{Protocol: "POP3", Result: relay.LoginOK, Mailhost: "mail2", Took: 1500 * time.Microsecond,
			Failures: []relay.Failure{{Mailhost: "mail1", Step: "connect"}, {Mailhost: "2001:db8::1", Step: "tls"}}},
			"REPORT\nFAILED=mail1/connect,2001:db8::1/tls\nLOGIN_US=1500\nMAILHOST=mail2\n" +
				"PROTOCOL=POP3\nRESULT=ok\n\n"},
		{relay.Report{Protocol: "IMAP", Result: relay.LoginLocal, Mailhost: "a\nRESULT=ok", Took: -time.Second,
			Mechanism: "PLAIN\n", TLS: "1.3"},
			"REPORT\nLOGIN_MECHANISM=PLAIN\\012\nLOGIN_TLS=1.3\nLOGIN_US=0\n" +
				"MAILHOST=a\\012RESULT=ok\nPROTOCOL=IMAP\nRESULT=local\n\n"},
	} {
		if err := (&Client{Socket: path}).Report(&tc.r); err != nil {
			t.Fatal(err)
		}
		if got := accepted(t, fd); got != tc.want {
			t.Errorf("got  %q\nwant %q", got, tc.want)
		}
	}
	long := relay.Report{Protocol: "IMAP", Result: relay.LoginTemporary, Failures: make([]relay.Failure, 1000)}
	if err := (&Client{Socket: path}).Report(&long); err != nil {
		t.Fatal(err)
	}
	if got := accepted(t, fd); strings.Count(got, "/") != relay.MaxFailures {
		t.Errorf("%d failures", strings.Count(got, "/"))
	}
}

// TestReportWaitsForNothing: no relayd, none that answers, and one whose queue is full.
func TestReportWaitsForNothing(t *testing.T) {
	r := relay.Report{Protocol: "IMAP", Result: relay.LoginRefused}
	report := func(socket string) error { return (&Client{Socket: socket}).Report(&r) }
	start := time.Now()
	if report(filepath.Join(t.TempDir(), "none")) == nil || report(strings.Repeat("x", 200)) == nil ||
		report("") == nil {
		t.Error("a report to nobody has arrived")
	}
	_, path := listenPackets(t, 0)
	full := false
	for range 3 {
		full = full || errors.Is(report(path), unix.EAGAIN)
	}
	if !full {
		t.Error("the queue is never full")
	}
	if took := time.Since(start); took > testlog.Patience {
		t.Errorf("it took %v", took)
	}
	stream := filepath.Join(t.TempDir(), "stream")
	l, err := net.Listen("unix", stream)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if report(stream) == nil {
		t.Error("a report to another kind of socket has arrived")
	}
}
