package relay

import (
	"errors"
	"syscall"

	"mailproxy/relay/internal/pump"
)

// Detacher is a TLS connection that can be carried on without crypto/tls, in this process or in relayd.
type Detacher interface {
	Conn
	Below() any       // the connection that carries the records
	CanDetach() error // nil: Detach will succeed if the connection is sound
	// Detach returns the connection's state. Called again, it returns the same one. Whoever carries the connection on with
	// it is the only one to use the connection then; as long as nobody does, some Detachers can still be read and written.
	Detach() (*Detached, error)
}

// Detached is a TLS connection without crypto/tls. Package record makes it; this package only passes it on.
type Detached = pump.Detached

// plainSocket returns the descriptor that carries a connection: a stream socket, or one below TLS that can be detached.
// nil for anything else.
func plainSocket(c Conn) syscall.RawConn {
	if d, ok := c.(Detacher); ok {
		if d.CanDetach() != nil {
			return nil
		}
		return rawSocket(d.Below())
	}
	return rawSocket(c)
}

// attach makes TLS the pump's business where it is crypto/tls's. What was decrypted already goes ahead; first, which the client gets in
// front of all, is not counted.
func attach(client, mailhost Conn, c, m *pump.End, up, down *pump.Flow, first string) error {
	early := [2][]byte{}
	for i, x := range []struct {
		conn Conn
		end  *pump.End
	}{{client, c}, {mailhost, m}} {
		d, ok := x.conn.(Detacher)
		if !ok {
			continue
		}
		state, err := d.Detach()
		if err != nil {
			return err
		}
		early[i] = x.end.Take(state)
	}
	down.Moved -= int64(len(first))
	return errors.Join(up.Prime(m, early[0]), down.Prime(c, []byte(first)), down.Prime(c, early[1]))
}
