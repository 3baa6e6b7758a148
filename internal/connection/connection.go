// Package connection has helpers for connections that package net lacks.
package connection

import (
	"context"
	"errors"
	"io"
	"net"
	"syscall"
	"time"
)

// During calls use, while reads and writes of conn end at the deadline of ctx, and when ctx ends; that ctx
// has ended meanwhile is an error. Without one conn has no deadline afterwards.
func During(ctx context.Context, conn net.Conn, use func() error) error {
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return err
	}
	stop := Interrupt(ctx, conn.SetDeadline)
	err := use()
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return err
	}
	return conn.SetDeadline(time.Time{})
}

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
