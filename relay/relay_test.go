package relay

import (
	"testing"
	"time"
)

func TestEndLine(t *testing.T) {
	i := Info{User: "ann@example.com", Protocol: "IMAP", RemoteIP: "::ffff:192.0.2.7", RemotePort: "4711",
		Mailhost: "mail1.example.com:143"}
	got := EndLine(i, Stats{FromClient: 12, FromMailhost: 3456, Duration: 61*time.Second + 900*time.Millisecond})
	want := "INFO: LOGOUT, user=ann@example.com, ip=[::ffff:192.0.2.7], port=[4711], " +
		"mailhost=mail1.example.com:143, rcvd=12, sent=3456, time=61, protocol=IMAP"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	i.User = "ann\r\nINFO: \x7f\u0085"
	want = "INFO: LOGOUT, user=ann\\015\\012INFO: \\177\\302\\205, ip=[::ffff:192.0.2.7], port=[4711], " +
		"mailhost=mail1.example.com:143, rcvd=0, sent=0, time=0, protocol=IMAP"
	if got := EndLine(i, Stats{}); got != want {
		t.Errorf("control characters in the log: %q", got)
	}
}
