// Package connection says of connections what package net does not.
package connection

import (
	"errors"
	"io"
	"net"
	"syscall"
)

// HungUp says whether err is the end of a connection by its other end, and not a timeout or an answer.
func HungUp(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) ||
		errors.Is(err, syscall.EPIPE)
}

// Bottom returns the connection below TLS and whatever else is laid over one; conn itself where there is
// none.
func Bottom(conn net.Conn) net.Conn {
	for {
		over, ok := conn.(interface{ NetConn() net.Conn })
		if !ok {
			return conn
		}
		conn = over.NetConn()
	}
}
