package handoff_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"mailproxy/relay"
	"mailproxy/relay/handoff"
	"mailproxy/tests/relaytest"
)

// answered gives a session to somebody in relayd's place who answers with a packet and file descriptors, and
// returns the error.
func answered(t *testing.T, packet string, fds ...int) error {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: path, Net: "unixpacket"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		c, err := l.AcceptUnix()
		if err != nil {
			return
		}
		defer c.Close()
		_, taken, _ := handoff.Receive(c)
		handoff.CloseAll(taken)
		if _, _, err := c.WriteMsgUnix([]byte(packet), unix.UnixRights(fds...), nil); err != nil {
			t.Error(err)
		}
		_, taken, _ = handoff.Receive(c) // until the other end closes
		handoff.CloseAll(taken)
	}()
	client, _ := relaytest.TCP(t, 0)
	mailhost, _ := relaytest.TCP(t, 0)
	s := &relay.Session{Client: client, Mailhost: mailhost, Info: relay.Info{User: "ann"}}
	return (&handoff.Client{Socket: path}).Carry(t.Context(), s)
}

// TestReason: the log line that a reason ends up in says who refuses.
func TestReason(t *testing.T) {
	for _, kind := range []error{relay.ErrLimit, relay.ErrUnavailable} {
		err := fmt.Errorf("%w: %w: 5 sessions", kind, errors.New("why"))
		if got := handoff.Reason(err); got != "why: 5 sessions" {
			t.Errorf("%v: %q", kind, got)
		}
	}
	if err := answered(t, "FULL\nREASON=why\n\n"); err.Error() != "unavailable: the answer is FULL why" {
		t.Errorf("%v", err)
	}
}

// What a relayd that somebody has taken over answers cannot look like fields of the front end's log line,
// nor fill the log.
func TestAnswerForgesNothing(t *testing.T) {
	reason := "REASON=x, user=eve, ip=[192.0.2.1]\r" + strings.Repeat("y", 64<<10)
	for verb, want := range map[string]error{
		"LIMIT": relay.ErrLimit, "FAIL": relay.ErrUnavailable, strings.Repeat("V", 1000): relay.ErrUnavailable,
	} {
		err := answered(t, verb+"\n"+reason+"\n\n")
		if !errors.Is(err, want) {
			t.Fatalf("%.10s: %.200v", verb, err)
		}
		if line := err.Error(); strings.ContainsAny(line, ",\r") || len(line) > 1000 {
			t.Errorf("%.10s: %d bytes: %.200s", verb, len(line), line)
		}
	}
}

// File descriptors that come with an answer are closed, whatever the answer is: a relayd that somebody has
// taken over does not use up those of the front ends.
func TestAnswerWithDescriptors(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "marker"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	fd := int(file.Fd())
	for _, packet := range []string{"OK\n\n", "FAIL\n\n", "no message"} {
		// As many as a message may have, and so many that some are lost on the way.
		for _, n := range []int{1, handoff.MaxFiles, 8 * handoff.MaxFiles} {
			err := answered(t, packet, slices.Repeat([]int{fd}, n)...)
			if (err == nil) != (strings.HasPrefix(packet, "OK")) {
				t.Errorf("%q with %d descriptors: %v", packet, n, err)
			}
			if open := timesOpen(t, file.Name()); open != 1 {
				t.Fatalf("%q with %d descriptors: %d stay open", packet, n, open-1)
			}
		}
	}
}

// timesOpen counts this process's file descriptors of a file.
func timesOpen(t *testing.T, path string) (n int) {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if name, _ := os.Readlink("/proc/self/fd/" + entry.Name()); name == path {
			n++
		}
	}
	return n
}
