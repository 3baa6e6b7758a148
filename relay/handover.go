package relay

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"syscall"
	"time"

	"mailproxy/relay/internal/wire"
)

// DefaultSocket is where relayd listens unless it is told otherwise.
const DefaultSocket = "/run/mailproxy/relayd/socket"

// DefaultUser is the user that relayd runs as unless something else is said.
const DefaultUser = "mailproxy"

// ErrUnavailable reports that no relayd took the session: the caller still owns both connections, nothing has been read
// from them or written to them, and relays them itself.
var ErrUnavailable = errors.New("relayd unavailable")

// ErrLimit reports that relayd refuses the session because of a limit that the administrator set (sessions in all, of one
// address, of one user). The client is refused; relaying it here would make the limit worthless.
var ErrLimit = errors.New("too many sessions")

// handTimeout limits every answer of relayd.
const handTimeout = 5 * time.Second

// leg is one of the two connections of a session.
type leg struct {
	name string
	conn Conn
}

// HandOver gives a session to the relayd that listens on socket. nil says that the session is relayd's, which sends the
// client o.First and then joins both; the caller closes its descriptors and must not touch the connections again.
// o.KeepAlive and o.HalfClosed (whole seconds) are relayd's to set, o.Users may run it. TLS connections (Detacher) are handed over with their
// keys and counters, and are detached for that.
//
// Errors: ErrLimit, or ErrUnavailable with the cause (no relayd, relayd full or of another version, connections that are not
// sockets). The session is still wholly the caller's then, and the client has not been told anything; Join goes on with it,
// also when its TLS has been detached. There is no third case, whatever happens to relayd: it acknowledges before it touches
// a connection, and an acknowledgement that was sent is found.
func HandOver(ctx context.Context, socket string, client, mailhost Conn, i Info, o Options) error {
	legs := [2]leg{{"CLIENT", client}, {"MAILHOST", mailhost}}
	m := i.message("TAKE", o)
	m.Fields["VERSION"] = wire.Version
	var conns []syscall.RawConn
	for _, x := range legs {
		raw := plainSocket(x.conn)
		if raw == nil {
			return unavailable(errors.New("a connection is neither a socket nor TLS that can be detached"))
		}
		conns = append(conns, raw)
	}
	c, err := wire.Call(ctx, socket, time.Now().Add(handTimeout), o.Users...)
	if err != nil {
		return unavailable(err)
	}
	defer c.Close()
	if err := describe(m, legs, o.First); err != nil {
		return unavailable(err)
	}
	if err := sendWith(c, m, nil, conns); err != nil {
		return unavailable(err)
	}
	answer, fds, err := wire.Receive(c)
	if err != nil {
		// From here on relayd can no longer acknowledge; if it has done so already, the answer is waiting.
		c.Shutdown()
		c.Within(context.Background(), time.Now().Add(handTimeout))
		answer, fds, err = wire.Receive(c)
	}
	wire.CloseAll(fds)
	return verdict(answer, err)
}

// message is how a session is told to relayd.
func (i Info) message(verb string, o Options) *wire.Message {
	start := i.Start
	if start.IsZero() {
		start = time.Now()
	}
	m := &wire.Message{Verb: verb, Fields: map[string]string{
		"USER": visible(i.User), "PROTOCOL": visible(i.Protocol), "IP": visible(i.RemoteIP), "PORT": visible(i.RemotePort),
		"MAILHOST": visible(i.Mailhost), "START": strconv.FormatInt(start.Unix(), 10),
		"KEEPALIVE": strconv.Itoa(int(o.KeepAlive / time.Second)), "HALFCLOSED": strconv.Itoa(int(o.halfClosed() / time.Second)),
	}}
	maps.Copy(m.Fields, i.Login.fields())
	return m
}

// sendWith collects the descriptors, each held open while the message is sent.
func sendWith(c *wire.Caller, m *wire.Message, fds []int, conns []syscall.RawConn) (err error) {
	if len(conns) == 0 {
		return wire.Send(c, m, fds...)
	}
	cerr := conns[0].Control(func(fd uintptr) { err = sendWith(c, m, append(fds, int(fd)), conns[1:]) })
	return errors.Join(cerr, err)
}

// verdict turns relayd's answer into an error.
func verdict(answer *wire.Message, err error) error {
	switch {
	case err != nil:
		return unavailable(err)
	case answer.Verb == "OK":
		return nil
	case answer.Verb == "LIMIT":
		return fmt.Errorf("%w: %s", ErrLimit, answer.Fields["REASON"])
	}
	return unavailable(fmt.Errorf("it answers %s %s", answer.Verb, answer.Fields["REASON"]))
}

// describe tells what the client reads first, and the state of TLS connections: their keys, and the bytes that crypto/tls has already
// taken from the socket. It leaves the states as they are, so that Join can still use them.
func describe(m *wire.Message, legs [2]leg, first string) error {
	m.Fields["FIRST"] = strconv.Itoa(len(first))
	m.Body = append(m.Body, first...)
	for _, x := range legs {
		d, ok := x.conn.(Detacher)
		if !ok {
			continue
		}
		state, err := d.Detach()
		if err != nil {
			return err
		}
		m.Fields[x.name+"_TLS"] = hex.EncodeToString(state.Codec.Marshal())
		m.Fields[x.name+"_PLAIN"] = strconv.Itoa(len(state.Plain))
		m.Fields[x.name+"_RAW"] = strconv.Itoa(len(state.Raw))
		if state.Ended {
			m.Fields[x.name+"_ENDED"] = "1"
		}
		m.Body = append(append(m.Body, state.Plain...), state.Raw...)
	}
	return nil
}

func unavailable(err error) error { return fmt.Errorf("%w: %w", ErrUnavailable, err) }
