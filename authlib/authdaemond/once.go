package main

import (
	"context"
	"net"
	"time"

	"mailproxy/authlib"
)

// serveOnce answers one request on a connection. The error tells why there was none.
func serveOnce(ctx context.Context, conn net.Conn, a *asker) error {
	if err := conn.SetDeadline(time.Now().Add(silentTime)); err != nil {
		return err
	}
	req, err := authlib.ReadRequest(conn)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	if err := conn.SetDeadline(time.Now().Add(requestTime + writeTime)); err != nil {
		return err
	}
	if _, ok := req.(*authlib.EnumerateRequest); ok {
		return a.list(ctx, conn)
	}
	out, err := a.answer(ctx, req, nil)
	if err != nil {
		return err
	}
	_, err = conn.Write(out)
	return err
}
