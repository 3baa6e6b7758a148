package relay

import (
	"context"
	"errors"
	"net"
	"runtime/debug"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"mailproxy/relay/internal/pump"
)

// settle is how long a session is silent before it gives back what only traffic needs.
const settle = time.Second

// Join moves bytes between client and mailhost until both directions are done: the end of one direction is passed on as
// such (half-close) and the other goes on. Sockets are spliced in the kernel by this goroutine alone; TLS connections and
// pipes are copied. A canceled ctx ends the session and returns its error; a reset connection ends the session with that
// error when what was read before it has been delivered. The deadlines of both connections must be off. Join closes
// neither: the caller does.
func Join(ctx context.Context, client, mailhost Conn, o Options) (Stats, error) {
	start := time.Now()
	tune(client, o)
	tune(mailhost, o)
	var s Stats
	var err error
	a, b := rawSocket(client), rawSocket(mailhost)
	if a == nil || b == nil {
		s, err = copyBoth(ctx, client, mailhost)
	} else {
		// Control holds the descriptors: a Close by somebody else waits until the loop has ended.
		cerr := a.Control(func(c uintptr) {
			merr := b.Control(func(m uintptr) { s, err = spliceBoth(ctx, int(c), int(m), o) })
			err = errors.Join(err, merr)
		})
		err = errors.Join(err, cerr)
	}
	s.Duration = time.Since(start)
	return s, err
}

// spliceBoth joins two non-blocking sockets. One thread waits in poll(2); a pipe and a buffer exist only while bytes flow.
func spliceBoth(ctx context.Context, client, mailhost int, o Options) (Stats, error) {
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return Stats{}, err
	}
	defer unix.Close(wake)
	told := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		_, _ = unix.Write(wake, []byte{1, 0, 0, 0, 0, 0, 0, 0})
		close(told)
	})
	defer func() {
		if !stop() {
			<-told // its descriptor is about to be closed
		}
	}()

	shop := pump.NewShop(2)
	defer shop.Release()
	var up, down pump.Flow
	defer up.Stop(shop, nil)
	defer down.Stop(shop, nil)
	stats := func() Stats { return Stats{FromClient: up.Moved, FromMailhost: down.Moved} }

	fresh := true // memory of the time before, or of traffic, is still held
	c, m := pump.End{FD: client}, pump.End{FD: mailhost}
	for {
		us, ds := up.Run(shop, &c, &m), down.Run(shop, &m, &c)
		if us == pump.Done && ds == pump.Done {
			return stats(), errors.Join(up.Err, down.Err)
		}
		// A reset reaches both flows: who reads sees it. A dead flow's reader must not wait for a writer who is gone.
		if up.Err != nil && us == pump.Done && gone(client) || down.Err != nil && ds == pump.Done && gone(mailhost) {
			return stats(), errors.Join(up.Err, down.Err)
		}
		fds := []unix.PollFd{
			{Fd: int32(client), Events: want(us, ds)},
			{Fd: int32(mailhost), Events: want(ds, us)},
			{Fd: int32(wake), Events: unix.POLLIN},
		}
		for i := range fds[:2] {
			if fds[i].Events == 0 {
				fds[i].Fd = -1 // POLLHUP can not be masked, and what it tells is seen when its turn comes
			}
		}
		timeout := -1
		if us == pump.More || ds == pump.More {
			timeout = 0
		} else if fresh || up.Bulky() || down.Bulky() {
			timeout = int(settle / time.Millisecond)
		}
		n, err := unix.Poll(fds, timeout)
		switch {
		case err != nil && err != unix.EINTR:
			return stats(), err
		case fds[2].Revents != 0:
			return stats(), ctx.Err()
		case n == 0 && timeout > 0:
			up.Rest(shop)
			down.Rest(shop)
			shop.Release()
			if fresh && o.Alone {
				debug.SetGCPercent(-1) // nothing is allocated from here on
				debug.FreeOSMemory()
			}
			fresh = false
		}
	}
}

// want returns the poll events of a connection: from is the flow that reads it, to the flow that writes it.
func want(from, to pump.Status) (events int16) {
	if from == pump.Idle {
		events |= unix.POLLIN
	}
	if to == pump.Blocked {
		events |= unix.POLLOUT
	}
	return events
}

// gone reports whether a connection is over in both directions, as after a reset.
func gone(fd int) bool {
	p := []unix.PollFd{{Fd: int32(fd)}}
	n, err := unix.Poll(p, 0)
	return err == nil && n == 1 && p[0].Revents&(unix.POLLERR|unix.POLLHUP) != 0
}

// rawSocket returns the descriptor of a stream socket, nil for anything else.
func rawSocket(c net.Conn) syscall.RawConn {
	sc, ok := c.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nil
	}
	kind := 0
	if cerr := raw.Control(func(fd uintptr) {
		kind, err = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_TYPE)
	}); cerr != nil || err != nil || kind != unix.SOCK_STREAM {
		return nil
	}
	return raw
}

// tune sets NODELAY and keepalive where the connection is TCP; elsewhere it does nothing.
func tune(c Conn, o Options) {
	under := net.Conn(c)
	if t, ok := c.(interface{ NetConn() net.Conn }); ok { // *tls.Conn
		under = t.NetConn()
	}
	if raw := rawSocket(under); raw != nil {
		_ = raw.Control(func(fd uintptr) { Tune(int(fd), o.KeepAlive) })
	}
}

// Tune sets TCP_NODELAY and, when keepAlive is not 0, TCP keepalive after that idle time: four probes a minute apart
// decide. A descriptor that is not TCP is left as it is.
func Tune(fd int, keepAlive time.Duration) {
	if unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1) != nil {
		return
	}
	if keepAlive <= 0 {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 0)
		return
	}
	idle := max(1, min(int(keepAlive/time.Second), 32767))
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, idle)
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, min(60, idle))
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPCNT, 4)
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1)
}
