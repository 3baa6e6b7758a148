package engine

import (
	"errors"
	"io"
	"strings"
	"testing"

	"mailproxy/tests/relaytest"
)

// faulty is a connection of a session that goroutines carry, with a fault in one method.
type faulty struct {
	relaytest.Conn
	inClose bool
}

func (f faulty) Read(p []byte) (int, error) {
	n, err := f.Conn.Read(p)
	if !f.inClose {
		panic("in Read")
	}
	return n, err
}

func (f faulty) Close() error {
	_ = f.Conn.Close()
	if f.inClose {
		panic("in Close")
	}
	return nil
}

// A panic in a session that goroutines carry ends that one: both its connections are closed, and it is
// accounted for.
func TestPanicCopied(t *testing.T) {
	for _, inClose := range []bool{false, true} {
		e := newTestEngine(t, Limits{})
		nc, fc := relaytest.TCP(t, 0)
		nm, fm := relaytest.TCP(t, 0)
		other, otherFar := relaytest.TCP(t, 0)
		otherMail, otherMailFar := relaytest.TCP(t, 0)
		for _, s := range []struct {
			user string
			c, m relaytest.Conn
		}{{"ann", hidden{other, other.CloseWrite}, otherMail}, {"mallory", faulty{nc, inClose}, nm}} {
			if err := e.Carry(t.Context(), testSession(s.user, s.c, s.m)); err != nil {
				t.Fatal(err)
			}
		}
		_, _ = io.WriteString(fc, "x")
		fc.Close()
		_, _ = io.Copy(io.Discard, fm) // until it is closed
		fm.Close()
		wait(t, "its end", func() bool { return len(e.ended()) == 1 })
		if err := e.ended()[0]; errors.Is(err, errPanic) == inClose {
			t.Errorf("in Close %v: it ended with %v", inClose, err)
		}
		exchange(t, otherFar, otherMailFar)
		if log := e.log(); strings.Count(log, "ERR: panic in a session, which ends: in ") != 1 {
			t.Errorf("log:\n%s", log)
		}
	}
}
