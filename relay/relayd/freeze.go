package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"strconv"

	"mailproxy/relay/internal/pump"
	"mailproxy/relay/internal/wire"
	"mailproxy/relay/tlsrecord"
)

// A session on its way to the next relayd is a MOVE message with its names, its state and its two descriptors, and DATA
// messages with the bytes that it holds: of each leg what was read and not decrypted, then what is to be written.

// freeze stops a session of this loop where it is.
func (s *session) freeze(shop *pump.Shop) (m *wire.Message, held []byte, err error) {
	i := s.info()
	f := map[string]string{"USER": i.User, "PROTOCOL": i.Protocol, "IP": i.RemoteIP, "PORT": i.RemotePort, "MAILHOST": i.Mailhost,
		"START": strconv.FormatInt(s.start, 10), "HALFCLOSED": strconv.Itoa(int(s.half))}
	for leg := range s.flow {
		st, ferr := s.flow[leg].Freeze(shop, &s.end[1-leg])
		err = errors.Join(err, ferr)
		n := strconv.Itoa(leg)
		f["MOVED"+n] = strconv.FormatInt(st.Moved, 10)
		f["FLOW"+n] = bits(st.EOF, st.Ending, st.Done)
	}
	for leg := range s.end {
		e, n := &s.end[leg], strconv.Itoa(leg)
		f["END"+n] = bits(e.Ended, e.Shut)
		if e.TLS != nil {
			f["TLS"+n] = hex.EncodeToString(e.TLS.Marshal())
		}
		f["IN"+n], f["OUT"+n] = strconv.Itoa(len(e.In)), strconv.Itoa(len(e.Out))
		held = append(append(held, e.In...), e.Out...)
	}
	f["HELD"] = strconv.Itoa(len(held))
	return &wire.Message{Verb: "MOVE", Fields: f}, held, err
}

// thaw is the reverse of freeze.
func thaw(m *wire.Message, held []byte, fds []int) (*session, error) {
	f := maps.Clone(m.Fields)
	f["KEEPALIVE"] = keepTuned
	o, err := offerFrom(&wire.Message{Verb: "TAKE", Fields: f}, fds)
	if err != nil {
		return nil, err
	}
	x := o.session(fds)
	if err := neverWait(fds); err != nil {
		return nil, err
	}
	for leg := range x.flow {
		n := strconv.Itoa(leg)
		moved, merr := strconv.ParseInt(f["MOVED"+n], 10, 64)
		b, berr := unbits(f["FLOW"+n], 3)
		e, eerr := unbits(f["END"+n], 2)
		if err := errors.Join(merr, berr, eerr); err != nil {
			return nil, err
		}
		x.flow[leg] = pump.Thaw(pump.State{Moved: moved, EOF: b[0], Ending: b[1], Done: b[2]})
		end := &x.end[leg]
		end.Ended, end.Shut = e[0], e[1]
		if state, ok := f["TLS"+n]; ok {
			raw, err := hex.DecodeString(state)
			if err != nil {
				return nil, err
			}
			if end.TLS, err = tlsrecord.Unmarshal(raw, n == "1"); err != nil {
				return nil, err
			}
		}
		if end.In, held, err = cut(held, f["IN"+n]); err != nil {
			return nil, err
		}
		if end.Out, held, err = cut(held, f["OUT"+n]); err != nil {
			return nil, err
		}
	}
	return x, nil
}

// keepTuned as KEEPALIVE leaves the options of the sockets as they are.
const keepTuned = "-"

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

// chunk is how much of what a session holds goes into one message.
const chunk = wire.MaxPacket / 2

// move sends one frozen session.
func move(c *net.UnixConn, m *wire.Message, held []byte, fds ...int) error {
	if err := wire.Send(c, m, fds...); err != nil {
		return err
	}
	for part := range slices.Chunk(held, chunk) {
		if err := wire.Send(c, &wire.Message{Verb: "DATA", Body: part}); err != nil {
			return err
		}
	}
	return nil
}

// moved receives one session, nil after END.
func moved(c *net.UnixConn) (*session, error) {
	m, fds, err := wire.Receive(c)
	if err == nil && m.Verb == "END" {
		wire.CloseAll(fds)
		return nil, nil
	}
	if err == nil && m.Verb != "MOVE" {
		err = fmt.Errorf("%s instead of MOVE", m.Verb)
	}
	var held []byte
	var x *session
	if err == nil {
		held, err = restOf(c, m)
	}
	if err == nil {
		x, err = thaw(m, held, fds)
	}
	if err != nil {
		wire.CloseAll(fds)
		return nil, err
	}
	return x, nil
}

func restOf(c *net.UnixConn, m *wire.Message) ([]byte, error) {
	n, err := strconv.Atoi(m.Fields["HELD"])
	if err != nil || n < 0 {
		return nil, fmt.Errorf("HELD=%s", m.Fields["HELD"])
	}
	var held []byte
	for len(held) < n {
		d, fds, err := wire.Receive(c)
		wire.CloseAll(fds)
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
