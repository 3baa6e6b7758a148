package relaytest

import (
	"errors"
	"io"
	"net"

	"mailproxy/relay/tlsrecord"
)

// CodecConn reads and writes a detached connection without crypto/tls: the peer of a session of which only
// the state is known. It is for use by one goroutine at a time.
type CodecConn struct {
	net.Conn // the connection that carries the records
	State    *tlsrecord.Detached
}

// Read returns what the peer has sent; io.EOF after its close_notify, tlsrecord.ErrTruncated where the
// stream ends without it. Not a byte after a record that has begun is taken from the connection below.
func (c *CodecConn) Read(p []byte) (int, error) {
	for len(c.State.Plain) == 0 {
		if c.State.Ended {
			return 0, io.EOF
		}
		if err := c.readRecord(); err != nil {
			return 0, err
		}
	}
	n := copy(p, c.State.Plain)
	c.State.Plain = c.State.Plain[n:]
	return n, nil
}

func (c *CodecConn) readRecord() error {
	s := c.State
	for {
		n, err := s.Codec.Split(s.Raw)
		if err != nil {
			return err
		}
		if n > 0 {
			break
		}
		missing := 5 - len(s.Raw)
		if missing <= 0 {
			missing = 5 + int(s.Raw[3])<<8 + int(s.Raw[4]) - len(s.Raw)
		}
		buf := make([]byte, missing)
		n, err = c.Conn.Read(buf)
		s.Raw = append(s.Raw, buf[:n]...)
		if n == 0 && errors.Is(err, io.EOF) {
			return tlsrecord.ErrTruncated
		}
		if n == 0 && err != nil {
			return err
		}
	}
	rec := s.Raw
	s.Raw = nil
	var err error
	if s.Plain, s.Ended, err = s.Codec.Open(rec); err != nil {
		return err
	}
	if s.Codec.Asked() {
		return c.send(nil)
	}
	return nil
}

// Write seals p and sends it.
func (c *CodecConn) Write(p []byte) (int, error) {
	if err := c.send(p); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (c *CodecConn) send(p []byte) error {
	sealed, err := c.State.Codec.Seal(nil, p)
	if err == nil {
		_, err = c.Conn.Write(sealed)
	}
	return err
}

// CloseWrite sends close_notify and ends the stream below in this direction.
func (c *CodecConn) CloseWrite() error {
	end, err := c.State.Codec.SealEnd(nil)
	if err == nil {
		_, err = c.Conn.Write(end)
	}
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok && err == nil {
		err = half.CloseWrite()
	}
	return err
}
