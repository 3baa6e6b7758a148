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

// ErrUnavailable reports that no relayd took the session: the caller still owns both connections, nothing has been read
// from them or written to them, and relays them itself.
var ErrUnavailable = errors.New("relayd unavailable")

// ErrLimit reports that relayd refuses the session because of a limit that the administrator set (sessions in all, of one
// address, of one user). The client is refused; relaying it here would make the limit worthless.
var ErrLimit = errors.New("too many sessions")

// handTimeout limits every answer of relayd.
const handTimeout = 5 * time.Second

// Reservation is a place in relayd for one session: relayd has both descriptors and its limits have been asked, but it
// touches neither connection before Start. This is the moment to tell the client that it is logged in.
type Reservation struct {
	c                *wire.Caller
	encrypted        bool // c is an Encrypted's and stays open without Start
	over             bool // Start was called
	client, mailhost Conn
}

// Reserve asks the relayd on socket to take a session. o.KeepAlive and o.HalfClosed (whole seconds) are relayd's to set. A
// connection that is Encrypted is taken from the relayd that encrypts it. Errors: ErrLimit, or ErrUnavailable with the cause (no relayd,
// relayd full, connections that are not sockets).
func Reserve(ctx context.Context, socket string, client, mailhost Conn, i Info, o Options) (*Reservation, error) {
	r := &Reservation{client: client, mailhost: mailhost}
	m := i.message("SESSION", o)
	var conns []syscall.RawConn
	for _, x := range r.legs() {
		if e := encryption(x.conn); e != nil {
			m.Fields[x.name+"_ID"] = e.id
			if r.c == nil {
				r.c, r.encrypted = e.c, true
			}
			continue
		}
		raw := plainSocket(x.conn)
		if raw == nil {
			return nil, unavailable(errors.New("a connection is neither a socket nor TLS that can be detached"))
		}
		conns = append(conns, raw)
	}
	end := time.Now().Add(handTimeout)
	if r.c == nil {
		var err error
		if r.c, err = wire.Call(ctx, socket, end); err != nil {
			return nil, unavailable(err)
		}
	}
	r.c.Within(ctx, end)
	if err := ask(r.c, m, conns...); err != nil {
		if !r.encrypted {
			r.c.Close()
		}
		return nil, err
	}
	return r, nil
}

// leg is one of the two connections of a session.
type leg struct {
	name string
	conn Conn
}

func (r *Reservation) legs() [2]leg { return [2]leg{{"CLIENT", r.client}, {"MAILHOST", r.mailhost}} }

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

// ask sends a message with the descriptors of the connections and waits for OK.
func ask(c *wire.Caller, m *wire.Message, conns ...syscall.RawConn) error {
	if err := sendWith(c, m, nil, conns); err != nil {
		return unavailable(err)
	}
	answer, fds, err := wire.Receive(c)
	wire.CloseAll(fds)
	return verdict(answer, err)
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

// Start lets relayd begin, and returns nil when the session is relayd's: the caller closes its descriptors and must not
// touch the connections again. After ErrUnavailable the session is still wholly the caller's. There is no third case,
// whatever happens to relayd: it acknowledges before it reads the first byte, and an acknowledgement that was sent is found.
// (A connection that relayd has encrypted is lost with relayd, and reads as ended then.)
func (r *Reservation) Start(ctx context.Context) error {
	defer func() { r.over = true }()
	m, err := r.startMessage()
	if err != nil {
		r.Close()
		return unavailable(err)
	}
	var near []syscall.RawConn
	for _, x := range r.legs() {
		if encryption(x.conn) != nil {
			near = append(near, rawSocket(x.conn))
		}
	}
	r.c.Within(ctx, time.Now().Add(handTimeout))
	if err := sendWith(r.c, m, nil, near); err != nil {
		r.Close()
		return unavailable(err)
	}
	answer, fds, err := wire.Receive(r.c)
	if err != nil {
		// From here on relayd can no longer acknowledge; if it has done so already, the answer is waiting.
		r.c.Shutdown()
		r.c.Within(context.Background(), time.Now().Add(handTimeout))
		answer, fds, err = wire.Receive(r.c)
	}
	wire.CloseAll(fds)
	if err = verdict(answer, err); err != nil && r.encrypted {
		return err
	}
	r.c.Close()
	for _, x := range r.legs() {
		if e := encryption(x.conn); e != nil && err == nil {
			e.Close()
		}
	}
	return err
}

// Close gives the place back. After Start it does nothing.
func (r *Reservation) Close() error {
	switch {
	case r.over:
		return nil
	case !r.encrypted:
		return r.c.Close()
	}
	r.c.Within(context.Background(), time.Now().Add(handTimeout))
	return ask(r.c, &wire.Message{Verb: "CANCEL"})
}

// startMessage says START and tells the state of TLS connections: their keys, and the bytes that crypto/tls has already
// taken from the socket. It leaves the states as they are, so that Join can still use them.
func (r *Reservation) startMessage() (*wire.Message, error) {
	m := &wire.Message{Verb: "START", Fields: map[string]string{}}
	for _, x := range r.legs() {
		d, ok := x.conn.(Detacher)
		if !ok {
			continue
		}
		if err := errors.Join(canDetach(r.client), canDetach(r.mailhost)); err != nil {
			return nil, err
		}
		state, err := d.Detach()
		if err != nil {
			return nil, err
		}
		m.Fields[x.name+"_TLS"] = hex.EncodeToString(state.Codec.Marshal())
		m.Fields[x.name+"_PLAIN"] = strconv.Itoa(len(state.Plain))
		m.Fields[x.name+"_RAW"] = strconv.Itoa(len(state.Raw))
		if state.Ended {
			m.Fields[x.name+"_ENDED"] = "1"
		}
		m.Body = append(append(m.Body, state.Plain...), state.Raw...)
	}
	return m, nil
}

func canDetach(c Conn) error {
	if d, ok := c.(Detacher); ok {
		return d.CanDetach()
	}
	return nil
}

// HandOver gives both connections to the relayd that listens on socket and returns nil when relayd has acknowledged that
// it owns them; the caller then closes its own descriptors and ends. Errors: see Reserve, whose two steps in one this is,
// for callers that have nothing to tell the client in between.
func HandOver(ctx context.Context, socket string, client, mailhost Conn, i Info) error {
	r, err := Reserve(ctx, socket, client, mailhost, i, Options{})
	if err != nil {
		return err
	}
	return r.Start(ctx)
}

func unavailable(err error) error { return fmt.Errorf("%w: %w", ErrUnavailable, err) }
