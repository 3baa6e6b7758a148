package tlsrecord

import (
	"syscall"

	"mailproxy/internal/line"
)

// Pending says whether data that has arrived can be read, as far as that can be told without waiting:
// encrypted data in a connection that is not a socket is not seen. It must not be called while another
// goroutine reads.
func (c *Conn) Pending() bool {
	c.restore(nil)
	if len(c.unread) > 0 {
		return true
	}
	// Tickets and the like are read on the way, and are nothing that the peer says.
	c.below.noWait = true
	defer func() { c.below.noWait = false }()
	p := make([]byte, 1)
	n, _ := c.Conn.Read(p) // an error comes back with the next Read
	c.unread = p[:n]
	return n > 0
}

// waits says whether a Read would return bytes at once.
func (c *belowConn) waits() bool {
	sc, ok := c.Conn.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return false
	}
	return line.HasCome(raw)
}
