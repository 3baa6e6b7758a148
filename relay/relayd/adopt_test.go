package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"mailproxy/internal/successor"
	"mailproxy/relay/handoff"
	"mailproxy/relay/tlsrecord"
	"mailproxy/tests/relaytest"
)

// frozen is a session of a fixture: its message, and the bytes that go with it.
type frozen struct {
	m    *handoff.Message
	held []byte
}

// readFrozen reads what an earlier release has sent to its successor: a line for each session, with the
// MOVE packet and the bytes of its DATA messages, both as Go strings.
func readFrozen(t *testing.T, path string) (all []frozen) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		packet, held, ok := strings.Cut(strings.TrimSpace(line), "\" \"")
		packet, perr := strconv.Unquote(packet + "\"")
		held, herr := strconv.Unquote("\"" + held)
		m, merr := handoff.Decode([]byte(packet))
		if err := errors.Join(perr, herr, merr); err != nil || !ok {
			t.Fatalf("%s: %v", line, err)
		}
		all = append(all, frozen{m, []byte(held)})
	}
	if len(all) == 0 {
		t.Fatal("no session in " + path)
	}
	return all
}

// peerOf is the other end of the TLS connection that a relayd has the state of: what is in for one is out
// for the other.
func peerOf(t *testing.T, state string, below *relaytest.CodecConn) {
	t.Helper()
	b, err := hex.DecodeString(state)
	if err != nil {
		t.Fatal(err)
	}
	const head = 9
	half := (len(b) - head) / 2
	swapped := append(append(append([]byte(nil), b[:head]...), b[head+half:]...), b[head:head+half]...)
	codec, err := tlsrecord.Unmarshal(swapped, false)
	if err != nil {
		t.Fatal(err)
	}
	below.State = &tlsrecord.Detached{Codec: codec}
}

// TestAdoptLastRelease: sessions that the relayd of the release before TLS went back into the front ends
// has passed on are carried on, with the bytes and the TLS state that it held.
func TestAdoptLastRelease(t *testing.T) {
	sessions := readFrozen(t, "testdata/sessions-before-one-house")
	ours, theirs, err := successor.Pair()
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.Close()
	_ = theirs.SetDeadline(time.Now().Add(time.Minute))
	var near, clients, mailhosts []relaytest.Conn
	for range sessions {
		nc, fc := relaytest.TCP(t, 0)
		nm, fm := relaytest.TCP(t, 0)
		near, clients, mailhosts = append(near, nc, nm), append(clients, fc), append(mailhosts, fm)
	}
	before := make(chan error, 1)
	go func() { // the relayd before
		before <- func() error {
			if m, _, err := handoff.Receive(theirs); err != nil || m.Verb != "READY" {
				return fmt.Errorf("%v %w", m, err)
			}
			for i, x := range sessions {
				c, cerr := near[2*i].(*net.TCPConn).File()
				m, merr := near[2*i+1].(*net.TCPConn).File()
				if err := errors.Join(cerr, merr); err != nil {
					return err
				}
				if err := handoff.Send(theirs, x.m, int(c.Fd()), int(m.Fd())); err != nil {
					return err
				}
				for part := range slices.Chunk(x.held, handoff.MaxPacket/2) {
					if err := handoff.Send(theirs, &handoff.Message{Verb: "DATA", Body: part}); err != nil {
						return err
					}
				}
				for _, f := range []io.Closer{c, m, near[2*i], near[2*i+1]} {
					f.Close()
				}
			}
			if err := handoff.Send(theirs, &handoff.Message{Verb: "END"}); err != nil {
				return err
			}
			m, _, err := handoff.Receive(theirs)
			if err == nil && m.Verb != "OK" {
				err = errors.New(m.Verb)
			}
			return err
		}()
	}()
	s := startChanged(t, func(s *service) {
		err := s.takeOver(context.Background(), ours)
		if err != nil || s.engine.Totals().Taken != int64(len(sessions)) {
			t.Fatal(err)
		}
	})
	if err := <-before; err != nil {
		t.Fatal(err)
	}
	who, _, err := ask(s.socket, "who")
	ann := "ann@example.com\t[::ffff:192.0.2.7]:4711\tIMAP\tmail1.example.com\t2026-11-18T"
	if err != nil || strings.Count(who, ann) != 3 ||
		!strings.Contains(who, "bob\t[2001:db8::7]:995\t\tlocal\t") {
		t.Errorf("%v\n%s", err, who)
	}
	for i, x := range sessions {
		fc, fm := clients[i], mailhosts[i]
		_ = fc.SetDeadline(time.Now().Add(time.Minute))
		_ = fm.SetDeadline(time.Now().Add(time.Minute))
		if state, ok := x.m.Fields["TLS1"]; ok {
			c := &relaytest.CodecConn{Conn: fm.(*net.TCPConn)}
			peerOf(t, state, c)
			fm = c
		}
		expectText(t, fc, string(x.held))
		_, _ = io.WriteString(fm, "from the mailhost")
		expectText(t, fc, "from the mailhost")
		if x.m.Fields["FLOW0"] == "000" { // else the client had ended its side
			_, _ = io.WriteString(fc, "from the client")
			expectText(t, fm, "from the client")
			if err := fc.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			if rest, err := io.ReadAll(fm); err != nil || len(rest) > 0 {
				t.Errorf("%q %v", rest, err)
			}
		}
		if err := fm.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if rest, err := io.ReadAll(fc); err != nil || len(rest) > 0 {
			t.Errorf("%q %v", rest, err)
		}
	}
	waitFor(t, func() bool { return s.engine.Totals().Counted == 0 })
	s.stop()
	const logout = "INFO: LOGOUT, user=ann@example.com, ip=[::ffff:192.0.2.7], port=[4711], "
	for _, line := range []string{
		logout + "mailhost=mail1.example.com, rcvd=27, sent=345695, ",
		logout + "mailhost=mail1.example.com, rcvd=15, sent=17, ",
	} {
		if !strings.Contains(s.log.String(), line) {
			t.Errorf("no %q in\n%s", line, s.log)
		}
	}
	if strings.Contains(s.log.String(), "user=bob") { // the local server writes its own line
		t.Error(s.log)
	}
}
