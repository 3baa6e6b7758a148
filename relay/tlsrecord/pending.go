package tlsrecord

import (
	"syscall"

	"mailproxy/internal/line"
)

// Pending says whether something can be read that has come already, as far as that can be told without
// waiting: of what is still encrypted in a connection that is no socket, nothing is known. It is not to be
// called while another goroutine reads.
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
