package pump

import "golang.org/x/sys/unix"

// Unpair takes a TLS connection out of a session that joined it to one end, far, of a socket pair, whose other end is near.
// in is the flow from the connection to far, out the one back. What stands in the pair is taken along: what the connection
// has received is returned, in order, and what was written to near is sealed behind what is on its way already. The flow that is
// returned is to read the connection from now on. ok is false, and everything as it was, when the writer of near has ended its side:
// that end is not to be taken back.
func Unpair(in, out *Flow, conn, far *End, near int) (flow Flow, early []byte, ok bool, err error) {
	if out.eof || out.ending || out.done || conn.Shut {
		return Flow{}, nil, false, nil
	}
	if early, err = drainSocket(near); err != nil {
		return Flow{}, nil, true, err
	}
	early = append(early, far.Out...)
	reply, err := drainSocket(far.FD)
	if err == nil && len(reply) > 0 {
		conn.Out, err = conn.TLS.Seal(conn.Out, reply)
	}
	return Flow{Err: in.Err, eof: in.eof || in.done}, early, true, err
}

// drainSocket reads what stands in a socket, without waiting. An end of the stream is no error: whoever has ended it has said
// so to the flow as well.
func drainSocket(fd int) (all []byte, err error) {
	buf := make([]byte, MaxPlain)
	for {
		n, err := read(fd, buf)
		if err == unix.EAGAIN || err == nil && n == 0 {
			return all, nil
		}
		if err != nil {
			return all, err
		}
		all = append(all, buf[:n]...)
	}
}
