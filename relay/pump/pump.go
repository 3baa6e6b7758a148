package pump

import (
	"errors"
	"io"
	"net"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"mailproxy/internal/connection"
	"mailproxy/internal/guard"
	"mailproxy/relay/tlsrecord"
)

const (
	bufferSize  = 8 << 10
	tick        = time.Second // how often a write that blocks is looked at
	deliverTime = time.Second // for a peer that has been delivered everything to close its side
	stopTime    = time.Second // for what carriers have sent when the program ends
	goneTime    = time.Second // for what a peer has sent that takes nothing any more
)

// halfCloser is a connection whose two directions end separately.
type halfCloser interface {
	net.Conn
	CloseWrite() error
}

// pump is one connection, and the link by which the carrier of its session has it.
type pump struct {
	outer halfCloser
	inner *tlsrecord.Conn // our end of the link
	near  *tlsrecord.Conn // the carrier's end
	limit time.Duration   // for a peer that takes nothing once the carrier has hung up

	log     func(line string)
	stopped atomic.Bool   // the program is ending
	inDone  chan struct{} // closed when nothing is read from outer any more
}

// run serves until the carrier has hung up and what it has sent is delivered.
func (x *pump) run() {
	defer func() { // without a word: what is to be said has been
		for _, c := range []net.Conn{x.inner, x.outer} {
			x.recovering(func() { connection.Bottom(c).Close(); c.Close() })
		}
	}()
	go func() {
		defer close(x.inDone)
		x.recovering(x.in)
	}()
	x.recovering(x.out)
}

// recovering calls f. A panic ends this session alone.
func (x *pump) recovering(f func()) {
	defer guard.Recover(x.log, "a session", func() { connection.Bottom(x.inner).Close() })
	f()
}

// in passes on what outer sends. Its end is told to the carrier as what it is: without close_notify unless
// the peer has ended its stream in order.
func (x *pump) in() {
	writing, err := move(x.inner.Write, x.outer)
	if writing { // the carrier has hung up; a connection that is closed with bytes to be read is reset
		_, _ = io.Copy(io.Discard, x.outer)
		return
	}
	endWriting(x.inner, errors.Is(err, io.EOF))
}

// out passes on what the carrier sends, and ends the connection after it has hung up.
func (x *pump) out() {
	writing, err := move(x.write, x.inner)
	if writing { // the peer is gone; what it sent before is still passed on
		late := time.Now().Add(goneTime)
		_ = x.outer.SetReadDeadline(late)
		_ = x.inner.SetWriteDeadline(late)
		<-x.inDone
		return
	}
	endWriting(x.outer, errors.Is(err, io.EOF))
	x.awaitHangUp()
	x.deliver()
}

// move passes on what src sends until that ends, or until it cannot be written: writing.
func move(write func([]byte) (int, error), src net.Conn) (writing bool, err error) {
	for buf := make([]byte, bufferSize); ; {
		n, end := src.Read(buf)
		if n > 0 {
			if _, err := write(buf[:n]); err != nil {
				return true, err
			}
		}
		if end != nil {
			return false, end
		}
	}
}

// write writes to outer, for as long as it takes; once the carrier has hung up, for as long as the limit.
func (x *pump) write(p []byte) (int, error) {
	written := make(chan struct{})
	defer close(written)
	begun := time.Now()
	timer := time.AfterFunc(tick, func() {
		for {
			if hungUp(x.inner) && (x.stopped.Load() || time.Since(begun) >= x.limit) {
				_ = x.outer.SetWriteDeadline(time.Unix(1, 0))
				return
			}
			select {
			case <-written:
				return
			case <-time.After(tick):
			}
		}
	})
	defer timer.Stop()
	return x.outer.Write(p)
}

// awaitHangUp waits until the carrier does not use its end of the link any more.
func (x *pump) awaitHangUp() {
	if raw := descriptor(x.inner); raw != nil {
		_ = raw.Read(func(fd uintptr) bool { return polledHangUp(int(fd)) })
	}
}

// deliver waits until outer's peer has received everything, as long as it receives something within the
// limit, and has closed its side, for which it has a second.
func (x *pump) deliver() {
	raw := descriptor(x.outer)
	left, since := -1, time.Now()
	for pause := 10 * time.Millisecond; ; pause = min(2*pause, tick) {
		queued, limit := 0, x.limit
		if raw != nil {
			_ = raw.Control(func(fd uintptr) { queued, _ = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ) })
		}
		if queued != left {
			left, since = queued, time.Now()
		}
		if queued == 0 {
			limit = deliverTime
		}
		if time.Since(since) >= limit || queued == 0 && x.stopped.Load() {
			return
		}
		select {
		// the peer's end: the kernel delivers the rest, as nothing will have it reset the connection
		case <-x.inDone:
			return
		case <-time.After(pause):
		}
	}
}

// stop ends the session, which is told of no orderly end; what the carrier sends until it hangs up is
// delivered.
func (x *pump) stop() {
	x.stopped.Store(true)
	endWriting(x.inner, false)
}

// endWriting ends our direction of a connection; without close_notify where nobody has said that it is over.
func endWriting(c halfCloser, orderly bool) {
	if orderly {
		_ = c.CloseWrite() // it may be gone already: that it cannot be told is no news then
	}
	if below, ok := connection.Bottom(c).(halfCloser); ok {
		_ = below.CloseWrite()
	}
}

// descriptor returns the socket of a connection, nil where there is none.
func descriptor(c net.Conn) syscall.RawConn {
	sc, ok := connection.Bottom(c).(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nil
	}
	return raw
}

// hungUp reports whether the other end of a link is closed.
func hungUp(c net.Conn) (yes bool) {
	raw := descriptor(c)
	return raw == nil || raw.Control(func(fd uintptr) { yes = polledHangUp(int(fd)) }) != nil || yes
}

func polledHangUp(fd int) bool {
	revents, err := connection.Poll(fd, 0)
	return err == nil && revents&(unix.POLLERR|unix.POLLHUP) != 0
}
