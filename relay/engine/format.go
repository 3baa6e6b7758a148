package engine

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"net"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"mailproxy/internal/text"
	"mailproxy/relay/handoff"
)

// A session on its way to another process is a MOVE message with its names, its state and its two file
// descriptors, and DATA messages with the bytes that it holds: of each leg what was read and not decrypted,
// then what is to be written. Version 1, of mailproxy 1.x's last release, is the same without the fields IDLE
// and CLOSING; it is read. AGE is how long the session has lasted, which START does not tell where the clock
// was set meanwhile; without it, it does.

// formatVersion is that of what is written.
const formatVersion = "2"

// chunk is how much of what a session holds goes into one message.
const chunk = handoff.MaxPacket / 2

// maxName is a length that every name may have.
const maxName = 512

// maxHeld bounds what one session may bring along: a pipe, and a read's worth of records, on either side.
const maxHeld = 16 << 20

// encode describes a frozen session.
func (s *session) encode(now time.Time) (m *handoff.Message, held []byte) {
	f := map[string]string{"HALFCLOSED": strconv.Itoa(int(s.limit)),
		"AGE": strconv.FormatInt(max(steady(now)-s.begun, 0), 10)}
	handoff.PutInfo(f, s.info())
	for i := range s.flows {
		fl, g, n := &s.flows[i], &s.legs[i], strconv.Itoa(i)
		f["MOVED"+n] = strconv.FormatInt(fl.moved, 10)
		f["FLOW"+n] = bits(fl.eof, fl.ending, fl.done)
		f["END"+n] = bits(g.ended, g.shut)
		if g.tls != nil {
			f["TLS"+n] = hex.EncodeToString(g.tls.Marshal())
		}
		f["IN"+n], f["OUT"+n] = strconv.Itoa(len(g.in)), strconv.Itoa(len(g.out))
		held = append(append(held, g.in...), g.out...)
	}
	switch {
	case s.closing != nil:
		f["CLOSING"], f["IDLE"] = "1", idleSince(s.closing.since, now)
	case s.half != nil:
		f["IDLE"] = idleSince(s.half.since, now)
	}
	f["HELD"] = strconv.Itoa(len(held))
	return &handoff.Message{Verb: "MOVE", Fields: f}, held
}

// idleSince is a time in milliseconds.
func idleSince(since, now time.Time) string {
	return strconv.FormatInt(max(now.Sub(since).Milliseconds(), 0), 10)
}

// decode is the reverse of encode. The file descriptors must be stream sockets.
func decode(m *handoff.Message, held []byte, fds []int, now time.Time) (*session, error) {
	if len(fds) != 2 || !handoff.IsStream(fds[0]) || !handoff.IsStream(fds[1]) {
		return nil, fmt.Errorf("%w: not two stream sockets", handoff.ErrSyntax)
	}
	for _, fd := range fds {
		if err := unix.SetNonblock(fd, true); err != nil {
			return nil, err
		}
	}
	f := maps.Clone(m.Fields)
	for _, name := range []string{"USER", "PROTOCOL", "IP", "PORT", "MAILHOST"} {
		// The last release took names that this one does not, and no name is a reason to lose a session.
		line := text.Line(f[name])
		f[name] = text.Line(line[:min(len(line), maxName)])
	}
	info, err := handoff.ParseInfo(f)
	if err != nil {
		return nil, err
	}
	limit, err := strconv.ParseInt(f["HALFCLOSED"], 10, 32)
	if err != nil || limit < 0 {
		return nil, fmt.Errorf("%w: HALFCLOSED=%q", handoff.ErrSyntax, f["HALFCLOSED"])
	}
	h := &handoff.Session{Info: info, HalfClose: time.Duration(limit) * time.Second}
	s := newSession(h, [2]int{fds[0], fds[1]})
	if age, ok := f["AGE"]; ok {
		n, err := strconv.ParseInt(age, 10, 33)
		if err != nil || n < 0 {
			return nil, fmt.Errorf("%w: AGE=%q", handoff.ErrSyntax, age)
		}
		s.begun = steady(now) - n
	}
	for i := range s.flows {
		fl, g, n := &s.flows[i], &s.legs[i], strconv.Itoa(i)
		moved, merr := strconv.ParseInt(f["MOVED"+n], 10, 64)
		b, berr := unbits(f["FLOW"+n], 3)
		e, eerr := unbits(f["END"+n], 2)
		if err := errors.Join(merr, berr, eerr); err != nil {
			return nil, fmt.Errorf("%w: %w", handoff.ErrSyntax, err)
		}
		fl.moved, fl.eof, fl.ending, fl.done = moved, b[0], b[1], b[2]
		g.ended, g.shut = e[0], e[1]
		if state, ok := f["TLS"+n]; ok {
			if g.tls, err = handoff.ParseTLS(state, i); err != nil {
				return nil, err
			}
		}
		if g.in, held, err = handoff.Cut(held, f["IN"+n]); err != nil {
			return nil, err
		}
		if g.out, held, err = handoff.Cut(held, f["OUT"+n]); err != nil {
			return nil, err
		}
	}
	return s, s.decodeEnding(f, now)
}

// decodeEnding restores how long one side of a half-closed session has been over.
func (s *session) decodeEnding(f map[string]string, now time.Time) error {
	idle := int64(0)
	if text, ok := f["IDLE"]; ok {
		var err error
		if idle, err = strconv.ParseInt(text, 10, 64); err != nil || idle < 0 || idle > math.MaxInt32 {
			return fmt.Errorf("%w: IDLE=%q", handoff.ErrSyntax, text)
		}
	}
	since := now.Add(-time.Duration(idle) * time.Millisecond)
	switch {
	case f["CLOSING"] == "1":
		s.closing = &closing{grace: deliverTime, limit: time.Duration(s.limit) * time.Second, since: since}
		s.closing.legs[mailhost].settled = true
	case s.flows[0].ended() || s.flows[1].ended():
		s.half = &halfClosed{moved: s.flows[0].moved + s.flows[1].moved, since: since}
	}
	return nil
}

func bits(b ...bool) string {
	s := make([]byte, len(b))
	for i, on := range b {
		s[i] = '0'
		if on {
			s[i] = '1'
		}
	}
	return string(s)
}

func unbits(s string, n int) ([]bool, error) {
	if len(s) != n {
		return nil, fmt.Errorf("%q is not %d flags", s, n)
	}
	b := make([]bool, n)
	for i := range b {
		b[i] = s[i] == '1'
	}
	return b, nil
}

// sendMoved sends one frozen session.
func sendMoved(c *net.UnixConn, s *session, now time.Time) error {
	m, held := s.encode(now)
	if err := handoff.Send(c, m, s.legs[client].fd, s.legs[mailhost].fd); err != nil {
		return err
	}
	for part := range slices.Chunk(held, chunk) {
		if err := handoff.Send(c, &handoff.Message{Verb: "DATA", Body: part}); err != nil {
			return err
		}
	}
	return nil
}

// receiveMoved reads the rest of a session whose MOVE message is m. The file descriptors are the session's,
// or closed.
func receiveMoved(c *net.UnixConn, m *handoff.Message, fds []int, now time.Time) (*session, error) {
	held, err := receiveHeld(c, m)
	var s *session
	if err == nil {
		s, err = decode(m, held, fds, now)
	}
	if err != nil {
		handoff.CloseAll(fds)
		return nil, err
	}
	return s, nil
}

func receiveHeld(c *net.UnixConn, m *handoff.Message) ([]byte, error) {
	n, err := strconv.Atoi(m.Fields["HELD"])
	if err != nil || n < 0 || n > maxHeld {
		return nil, fmt.Errorf("%w: HELD=%q", handoff.ErrSyntax, m.Fields["HELD"])
	}
	var held []byte
	for len(held) < n {
		d, fds, err := handoff.Receive(c)
		handoff.CloseAll(fds)
		if err != nil {
			return nil, err
		}
		if d.Verb != "DATA" || len(d.Body) == 0 {
			return nil, io.ErrUnexpectedEOF
		}
		held = append(held, d.Body...)
	}
	return held, nil
}
