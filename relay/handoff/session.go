package handoff

import (
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"net"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"mailproxy/internal/text"
	"mailproxy/relay"
	"mailproxy/relay/tlsrecord"
)

// Version is that of the CARRY message. A front end and a relayd of different versions do not share sessions.
const Version = "1"

// errVersion reports a CARRY message of another version.
var errVersion = errors.New("another version of the hand-over")

// The legs of a session.
const (
	ClientLeg   = 0
	MailhostLeg = 1
)

// Session is a relay.Session without its connections, which are two file descriptors beside the message.
type Session struct {
	Info      relay.Info // without Login
	KeepAlive time.Duration
	HalfClose time.Duration
	First     []byte
	Legs      [2]Leg
}

// Leg is what is to be known of one connection.
type Leg struct {
	TLS   *tlsrecord.Codec // nil: plain
	Plain []byte           // read from the connection already, and decrypted
	Raw   []byte           // read from it and not yet decrypted: the beginning of a record
	Ended bool             // TLS: close_notify was received
}

var legNames = [2]string{ClientLeg: "CLIENT_", MailhostLeg: "MAILHOST_"}

// Describe detaches the TLS of a session and returns what another party needs to go on with it, and the two
// sockets. An error says that only this process can go on with it. After an error, and as long as the
// returned state is not used, the connections can be used as before.
func Describe(s *relay.Session) (*Session, [2]syscall.RawConn, error) {
	var raw [2]syscall.RawConn
	h := &Session{Info: s.Info, KeepAlive: s.KeepAlive, HalfClose: s.HalfClose, First: s.First}
	if h.HalfClose <= 0 {
		h.HalfClose = relay.DefaultHalfClosed
	}
	conns := [2]net.Conn{ClientLeg: s.Client, MailhostLeg: s.Mailhost}
	for i, c := range conns {
		var err error
		if raw[i], err = direct(c); err != nil {
			return nil, raw, err
		}
	}
	for i, c := range conns {
		d, ok := c.(tlsrecord.Detacher)
		if !ok {
			continue
		}
		state, err := d.Detach()
		if err != nil {
			return nil, raw, err
		}
		h.Legs[i] = Leg{TLS: state.Codec, Plain: state.Plain, Raw: state.Raw, Ended: state.Ended}
	}
	return h, raw, nil
}

// Direct returns nil when Describe will succeed for a connection that is sound.
func Direct(c net.Conn) error {
	_, err := direct(c)
	return err
}

// direct returns the socket of a connection.
func direct(c net.Conn) (syscall.RawConn, error) {
	below := c
	if d, ok := c.(tlsrecord.Detacher); ok {
		if err := d.CanDetach(); err != nil {
			return nil, err
		}
		below = d.NetConn()
	}
	if raw := streamSocket(below); raw != nil {
		return raw, nil
	}
	return nil, fmt.Errorf("%T is neither a socket nor TLS that can be detached", c)
}

// Release closes the connections of a session that somebody else goes on with.
func Release(s *relay.Session) {
	for _, c := range [2]net.Conn{s.Client, s.Mailhost} {
		if d, ok := c.(tlsrecord.Detacher); ok {
			_ = d.Release()
			continue
		}
		_ = c.Close()
	}
}

// streamSocket returns the file descriptor of a stream socket, nil for anything else.
func streamSocket(c net.Conn) syscall.RawConn {
	sc, ok := c.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nil
	}
	ok = false
	if err := raw.Control(func(fd uintptr) { ok = IsStream(int(fd)) }); err != nil || !ok {
		return nil
	}
	return raw
}

// IsStream reports whether a file descriptor is a stream socket.
func IsStream(fd int) bool {
	kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	return err == nil && kind == unix.SOCK_STREAM
}

// Message returns the CARRY message of a session.
func (s *Session) Message() *Message {
	m := &Message{Verb: Carry, Fields: map[string]string{"VERSION": Version,
		"KEEPALIVE": seconds(s.KeepAlive), "HALFCLOSE": seconds(s.HalfClose), "FIRST": strconv.Itoa(len(s.First))}}
	PutInfo(m.Fields, s.Info)
	putReport(m.Fields, s.Info.Login)
	m.Body = append(m.Body, s.First...)
	for i, l := range s.Legs {
		if l.TLS == nil {
			continue
		}
		m.Fields[legNames[i]+"TLS"] = hex.EncodeToString(l.TLS.Marshal())
		m.Fields[legNames[i]+"PLAIN"] = strconv.Itoa(len(l.Plain))
		m.Fields[legNames[i]+"RAW"] = strconv.Itoa(len(l.Raw))
		if l.Ended {
			m.Fields[legNames[i]+"ENDED"] = "1"
		}
		m.Body = append(append(m.Body, l.Plain...), l.Raw...)
	}
	return m
}

func seconds(d time.Duration) string {
	return strconv.FormatInt(int64((d+time.Second-1)/time.Second), 10)
}

// ParseSession reads a CARRY message. What it returns shares the message's body.
func ParseSession(m *Message) (*Session, error) {
	if m.Verb != Carry || m.Fields["VERSION"] != Version {
		return nil, fmt.Errorf("%w: %s %q instead of CARRY %q", errVersion, m.Verb, m.Fields["VERSION"], Version)
	}
	info, err := ParseInfo(m.Fields)
	if err != nil {
		return nil, err
	}
	s := &Session{Info: info}
	if s.KeepAlive, err = parseSeconds(m.Fields, "KEEPALIVE"); err != nil {
		return nil, err
	}
	if s.HalfClose, err = parseSeconds(m.Fields, "HALFCLOSE"); err != nil {
		return nil, err
	}
	body := m.Body
	if s.First, body, err = Cut(body, m.Fields["FIRST"]); err != nil {
		return nil, err
	}
	for i := range s.Legs {
		state, ok := m.Fields[legNames[i]+"TLS"]
		if !ok {
			continue
		}
		l := &s.Legs[i]
		if l.TLS, err = ParseTLS(state, i); err != nil {
			return nil, err
		}
		if l.Plain, body, err = Cut(body, m.Fields[legNames[i]+"PLAIN"]); err != nil {
			return nil, err
		}
		if l.Raw, body, err = Cut(body, m.Fields[legNames[i]+"RAW"]); err != nil {
			return nil, err
		}
		l.Ended = m.Fields[legNames[i]+"ENDED"] == "1"
	}
	if len(body) > 0 {
		return nil, fmt.Errorf("%w: %d bytes too many", ErrSyntax, len(body))
	}
	return s, nil
}

func parseSeconds(fields map[string]string, name string) (time.Duration, error) {
	n, err := strconv.ParseInt(fields[name], 10, 32)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%w: %s is not a number of seconds", ErrSyntax, name)
	}
	return time.Duration(n) * time.Second, nil
}

// ParseTLS reads the state of the TLS connection of a leg.
func ParseTLS(state string, leg int) (*tlsrecord.Codec, error) {
	raw, err := hex.DecodeString(state)
	if err != nil {
		return nil, fmt.Errorf("%w: TLS state is not hexadecimal", ErrSyntax)
	}
	return tlsrecord.Unmarshal(raw, leg == MailhostLeg)
}

// Cut takes the first bytes of body, as many as n says.
func Cut(body []byte, n string) (part, rest []byte, err error) {
	size, err := strconv.Atoi(n)
	if err != nil || size < 0 || size > len(body) {
		return nil, nil, fmt.Errorf("%w: %q bytes of %d", ErrSyntax, n, len(body))
	}
	return body[:size:size], body[size:], nil
}

// PutInfo writes what a session is called.
func PutInfo(fields map[string]string, i relay.Info) {
	start := i.Start
	if start.IsZero() {
		start = time.Now()
	}
	fields["USER"], fields["PROTOCOL"] = text.Line(i.User), text.Line(i.Protocol)
	fields["IP"], fields["PORT"] = text.Line(i.RemoteIP), text.Line(i.RemotePort)
	fields["MAILHOST"] = text.Line(i.Mailhost)
	fields["START"] = strconv.FormatInt(start.Unix(), 10)
}

// ParseInfo reads what PutInfo has written.
func ParseInfo(fields map[string]string) (relay.Info, error) {
	start, err := strconv.ParseInt(fields["START"], 10, 64)
	if err != nil || start < 0 || start > math.MaxInt32*1000 {
		return relay.Info{}, fmt.Errorf("%w: START is not a time", ErrSyntax)
	}
	i := relay.Info{User: fields["USER"], Protocol: fields["PROTOCOL"], RemoteIP: fields["IP"],
		RemotePort: fields["PORT"], Mailhost: fields["MAILHOST"], Start: time.Unix(start, 0)}
	for _, f := range []string{i.User, i.Protocol, i.RemoteIP, i.RemotePort, i.Mailhost} {
		if len(f) > 1024 || f != text.Line(f) {
			return relay.Info{}, fmt.Errorf("%w: a name that cannot be logged", ErrSyntax)
		}
	}
	return i, nil
}
