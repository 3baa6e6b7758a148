package faults

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"mailproxy/tests/harness"
	"mailproxy/tests/transcript"
)

// A session whose mailhost or client vanishes ends at once, on both sides, with one log line.
func TestVanish(t *testing.T) {
	harness.Userdb(t, harness.Account{Name: "u", Password: "pw", Options: "mailhost=" + good})
	harness.CourierAuthdaemond(t, "authuserdb", nil)
	enter := map[string]string{
		"IMAP": greets + "C~ (?P<tag>\\S+) LOGIN .*\nS: ${tag} OK in\nC: ping\n",
		"POP3": pass3 + "S: +OK in\nC: ping\n",
	}
	harness.EachMode(t, func(t *testing.T, m *harness.Mode) {
		for _, p := range protocols {
			for _, who := range []string{"mailhost closes", "mailhost resets", "client closes", "client resets"} {
				t.Run(p.Name+"/"+who, func(t *testing.T) { vanish(t, m, p, enter[p.Name], who) })
			}
		}
	})
}

func vanish(t *testing.T, m *harness.Mode, p protocol, enter, who string) {
	entered, gone := make(chan bool, 1), make(chan error, 1)
	harness.NewFakeMailhost(t, p.At(good), func(conn net.Conn) error {
		if err := harness.Scripted(t, 0, enter)(conn); err != nil {
			return err
		}
		entered <- true
		switch who {
		case "mailhost closes":
		case "mailhost resets":
			return reset(conn)
		default:
			conn.SetReadDeadline(time.Now().Add(waitLimit))
			_, err := io.Copy(io.Discard, conn)
			gone <- err
		}
		return nil
	})
	front := p.front(t, m, control, nil)
	ended := len(front.Ends(p.Name).Find("LOGOUT, user=u"))
	conn := harness.Connect(t, p.At(control))
	r := &transcript.Runner{Conn: conn, Timeout: waitLimit}
	r.MustPlay(t, p.Greeting+p.Credentials("u", "pw")+p.answer[loggedIn]+"\nC: ping")
	<-entered
	switch who {
	case "client resets":
		conn.SetLinger(0)
		conn.Close()
	case "client closes":
		conn.Close()
	default:
		conn.SetReadDeadline(time.Now().Add(waitLimit))
		if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error("the client is not told that the mailhost is gone")
		}
		// What the client had to say is said: a mailhost that only closed might still have listened.
		conn.Close()
	}
	if who[0] == 'c' {
		if err := <-gone; errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error("the mailhost is not told that the client is gone")
		}
	}
	front.Ends(p.Name).
		WaitN(t, ended+1, `^INFO: LOGOUT, user=u, .*, mailhost=127\.0\.0\.8, rcvd=6, sent=0, time=\d+, protocol=`)
	front.Idle(t)
	if lines := front.Log(p.Name).Find(`LOGOUT|WARN|ERR`); len(lines) > 2 {
		t.Errorf("log lines: %q", lines)
	}
}
