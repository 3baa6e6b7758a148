package relay

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"mailproxy/relay/internal/wire"
)

// EncryptRequest asks relayd to make the TLS handshake on a connection and to carry the encryption from then on.
type EncryptRequest struct {
	// Conn is the connection to the client or mailhost: a socket, from which nothing behind STARTTLS has been read. relayd
	// works on it from now on; the caller keeps it only to do the handshake itself after ErrUnavailable.
	Conn syscall.Conn
	// Far is the descriptor of one end of a stream socket pair. The caller closes it after Encrypt, and holds its dialogue, in
	// clear text, over the other end.
	Far int
	// Host is empty for a client's connection. For a mailhost's it is the name that its certificate has to have.
	Host string
	// StartTLS says that the client has asked for STARTTLS or STLS.
	StartTLS bool
	// Settings are the session's; TLS_* and PROXY_TLS_* matter.
	Settings map[string]string
	// Open opens the files of a handshake, by what they hold: "CERT" (and "KEY" unless it is in the same file), "TRUST". The
	// argument is empty for those that every handshake with these settings needs, and afterwards the server that a client
	// names; none then means that there are none of its own. Encrypt closes them.
	Open func(server string) (map[string]int, error)
	// Handshake and Login are the time limits from now on: of the handshake, and until HandOver or Continue is called.
	Handshake, Login time.Duration
	// Protocol, RemoteIP and RemotePort are for relayd's list of sessions; RemoteIP also for its limits.
	Protocol, RemoteIP, RemotePort string
	// Warn is told what does not prevent the handshake; nil: nobody is.
	Warn func(format string, a ...any)
}

// Encrypted is a connection whose TLS relayd carries. A connection over the near end of the socket pair says so with a
// method Encrypted() *Encrypted, by which HandOver and Join know it; nil means that it is not encrypted.
type Encrypted struct {
	// Variables are the facts about the connection, TLS_CONNECTED_PROTOCOL and TLS_SUBJECT_*, as couriertls says them.
	Variables map[string]string

	c  *wire.Caller
	id string
	on bool // Continue was called
}

// HandshakeError is why a handshake failed. Bytes may have been read and written: the session is over.
type HandshakeError struct{ Reason string }

// Error says why.
func (e *HandshakeError) Error() string { return e.Reason }

// settingPrefix begins the names of fields that are settings.
const settingPrefix, variablePrefix = "SET_", "VAR_"

// Encrypt has the relayd on socket make a handshake. Errors: ErrUnavailable, when nothing has been read from or written to
// the connection, so that the caller can make the handshake itself; a *HandshakeError, or the end of ctx or of the time, after
// which the session is over. The Encrypted has to be kept, until HandOver or Continue has succeeded, and closed.
func Encrypt(ctx context.Context, socket string, r EncryptRequest) (*Encrypted, error) {
	conn := rawSocket(r.Conn)
	if conn == nil {
		return nil, unavailable(errors.New("the connection is not a socket"))
	}
	files, err := r.Open("")
	defer closeFiles(files)
	if err != nil {
		return nil, unavailable(err)
	}
	c, err := wire.Call(ctx, socket, time.Now().Add(handTimeout))
	if err != nil {
		return nil, unavailable(err)
	}
	m := r.message()
	var fds []int
	m.Fields["FILES"], fds = inOrder(files)
	cerr := conn.Control(func(fd uintptr) { err = wire.Send(c, m, append([]int{int(fd), r.Far}, fds...)...) })
	if err = errors.Join(cerr, err); err != nil {
		c.Close()
		return nil, unavailable(err)
	}
	e, err := r.handshake(ctx, c)
	if err != nil {
		c.Close()
		return nil, err
	}
	return e, nil
}

// handshake answers relayd's questions until it says what became of the handshake.
func (r *EncryptRequest) handshake(ctx context.Context, c *wire.Caller) (*Encrypted, error) {
	m, err := r.next(c)
	if err != nil {
		// From here on relayd can not begin; if it has begun already, it has said so.
		c.Shutdown()
		c.Within(context.Background(), time.Now().Add(handTimeout))
		late := err
		if m, err = r.next(c); err != nil {
			return nil, unavailable(late)
		}
		if m.Verb == "BEGIN" {
			return nil, stopped(late)
		}
	}
	if m.Verb != "BEGIN" {
		return nil, unavailable(fmt.Errorf("it answers %s %s", m.Verb, m.Fields["REASON"]))
	}
	c.Within(ctx, time.Now().Add(r.Handshake+handTimeout)) // relayd knows the limit, too, and says so when it is over
	for {
		if m, err = r.next(c); err != nil {
			return nil, stopped(err)
		}
		switch m.Verb {
		case "FILES":
			if err := r.answer(c, m.Fields["NAME"]); err != nil {
				return nil, stopped(err)
			}
		case "READY":
			return ready(c, m), nil
		default:
			return nil, &HandshakeError{visible(m.Fields["REASON"])}
		}
	}
}

// next receives one message and passes on the warnings in it.
func (r *EncryptRequest) next(c *wire.Caller) (*wire.Message, error) {
	m, fds, err := wire.Receive(c)
	wire.CloseAll(fds)
	if err != nil {
		return nil, err
	}
	for text := range strings.Lines(string(m.Body)) {
		if r.Warn != nil {
			r.Warn("%s", visible(strings.TrimSuffix(text, "\n")))
		}
	}
	return m, nil
}

func stopped(err error) error { return fmt.Errorf("relayd in the middle of a handshake: %w", err) }

func ready(c *wire.Caller, m *wire.Message) *Encrypted {
	e := &Encrypted{Variables: map[string]string{}, c: c, id: m.Fields["ID"]}
	for name, value := range m.Fields {
		if name, ok := strings.CutPrefix(name, variablePrefix); ok {
			e.Variables[name] = value
		}
	}
	return e
}

// answer opens the files for a server that the client has named. A file that can not be opened is reported, and the default
// serves.
func (r *EncryptRequest) answer(c *wire.Caller, server string) error {
	files, err := r.Open(server)
	defer closeFiles(files)
	if err != nil && r.Warn != nil {
		r.Warn("no TLS certificate for %q: %v", server, err)
	}
	if err != nil || len(files) == 0 {
		return wire.Send(c, &wire.Message{Verb: "NONE"})
	}
	names, fds := inOrder(files)
	return wire.Send(c, &wire.Message{Verb: "FILES", Fields: map[string]string{"FILES": names}}, fds...)
}

func (r *EncryptRequest) message() *wire.Message {
	m := &wire.Message{Verb: "ENCRYPT", Fields: map[string]string{
		"HOST": visible(r.Host), "PROTOCOL": visible(r.Protocol), "IP": visible(r.RemoteIP), "PORT": visible(r.RemotePort),
		"HANDSHAKE_MS": strconv.FormatInt(r.Handshake.Milliseconds(), 10), "LOGIN_MS": strconv.FormatInt(r.Login.Milliseconds(), 10),
		"STARTTLS": "0",
	}}
	if r.StartTLS {
		m.Fields["STARTTLS"] = "1"
	}
	for name, value := range r.Settings {
		if strings.HasPrefix(name, "TLS_") && !strings.HasPrefix(name, "TLS_SUBJECT_") || strings.HasPrefix(name, "PROXY_TLS") {
			m.Fields[settingPrefix+name] = value
		}
	}
	return m
}

// inOrder lists files as a message does: their kinds in one field, their descriptors beside it.
func inOrder(files map[string]int) (kinds string, fds []int) {
	names := slices.Sorted(maps.Keys(files))
	for _, name := range names {
		fds = append(fds, files[name])
	}
	return strings.Join(names, " "), fds
}

func closeFiles(files map[string]int) {
	for _, fd := range files {
		wire.CloseAll([]int{fd})
	}
}

// Continue tells relayd that the session of this connection is logged in and goes on over the near end: a local server has
// it, or Join in this process. Without it the time limit of the login ends the connection. i says what relayd calls the session
// in its list; without a protocol there is no line in its log at the end. Errors: ErrLimit, and ErrUnavailable when relayd is gone, with
// the connection.
func (e *Encrypted) Continue(ctx context.Context, i Info, o Options) error {
	if e.on {
		return nil
	}
	e.c.Within(ctx, time.Now().Add(handTimeout))
	m := i.message("CONTINUE", o)
	if err := ask(e.c, m); err != nil {
		return err
	}
	e.on = true
	return e.c.Close()
}

// Close ends the connection, unless it has been passed on by HandOver or Continue: then it does nothing.
func (e *Encrypted) Close() error { return e.c.Close() }

// encryption returns what relayd has encrypted of a connection, nil when it is plain.
func encryption(c any) *Encrypted {
	if over, ok := c.(interface{ Encrypted() *Encrypted }); ok {
		return over.Encrypted()
	}
	return nil
}
