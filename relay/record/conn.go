package record

import (
	"errors"
	"io"
	"net"
	"time"
)

// Conn reads and writes a detached connection without crypto/tls: for what still has to be said on a connection that was
// detached to be given away and then was not. State is the connection's present state at any time, so that it can be given
// away later. It is for use by one goroutine at a time.
type Conn struct {
	net.Conn // the connection that carries the records
	State    *Detached

	used bool
}

// Read returns what the peer has sent; io.EOF after its close_notify, ErrTruncated where the stream ends without it. Not a
// byte behind a record that has begun is taken from the connection below.
func (c *Conn) Read(p []byte) (int, error) {
	c.used = true
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

func (c *Conn) readRecord() error {
	s := c.State
	for {
		n, err := s.Codec.Split(s.Raw)
		if err != nil {
			return err
		}
		if n > 0 {
			break
		}
		missing := headerLen - len(s.Raw)
		if missing <= 0 {
			missing = headerLen + int(s.Raw[3])<<8 + int(s.Raw[4]) - len(s.Raw)
		}
		buf := make([]byte, missing)
		n, err = c.Conn.Read(buf)
		s.Raw = append(s.Raw, buf[:n]...)
		if n == 0 && errors.Is(err, io.EOF) {
			return ErrTruncated
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
func (c *Conn) Write(p []byte) (int, error) {
	c.used = true
	if err := c.send(p); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (c *Conn) send(p []byte) error {
	sealed, err := c.State.Codec.Seal(nil, p)
	if err == nil {
		_, err = c.Conn.Write(sealed)
	}
	return err
}

// CloseWrite sends close_notify and ends the stream below in this direction.
func (c *Conn) CloseWrite() error {
	c.used = false // nothing may follow
	end, err := c.State.Codec.SealEnd(nil)
	if err == nil {
		_, err = c.Conn.Write(end)
	}
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok && err == nil {
		err = half.CloseWrite()
	}
	return err
}

// closeTime is how long close_notify may take to be sent.
const closeTime = 5 * time.Second

// Close sends close_notify, if the connection was read or written here, and closes the connection below.
func (c *Conn) Close() error {
	if c.used {
		_ = c.Conn.SetWriteDeadline(time.Now().Add(closeTime))
		_ = c.CloseWrite() // a peer that is gone needs none
	}
	return c.Conn.Close()
}
