package relay

import (
	"context"
	"errors"
	"math"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"mailproxy/relay/internal/pump"
)

// youth is the time that most sessions of clients who only look for new mail do not live to see: until then nothing is done that
// serves long ones.
const youth = 100 * time.Millisecond

// settle is how long a session is silent before it gives back what only traffic needs.
const settle = time.Second

// Join sends the client o.First and moves bytes between client and mailhost until both directions are done: the end of one
// direction is passed on as such (half-close) and the other goes on. Sockets are spliced in the kernel by this goroutine alone, TLS
// is carried on by it where that is possible (Detacher); pipes and other connections are copied. A canceled ctx ends the session and
// returns its error; a reset connection ends the session with that error when what was read before it has been delivered; so does
// Options.HalfClosed with ErrHalfClosed. The deadlines of both connections must be off. Join closes neither: the caller does.
func Join(ctx context.Context, client, mailhost Conn, o Options) (Stats, error) {
	start := time.Now()
	var s Stats
	var err error
	a, b := plainSocket(client), plainSocket(mailhost)
	if a == nil || b == nil {
		tune(client, o)
		tune(mailhost, o)
		s, err = copyBoth(ctx, client, mailhost, o)
	} else {
		// Control holds the descriptors: a Close by somebody else waits until the loop has ended.
		cerr := a.Control(func(c uintptr) {
			merr := b.Control(func(m uintptr) { s, err = pumpBoth(ctx, client, mailhost, int(c), int(m), o) })
			err = errors.Join(err, merr)
		})
		err = errors.Join(err, cerr)
	}
	s.Duration = time.Since(start)
	return s, err
}

// pumpBoth joins two sockets, with TLS or without. One thread waits in poll(2); pipe and buffers exist only
// while bytes flow.
func pumpBoth(ctx context.Context, client, mailhost Conn, cfd, mfd int, o Options) (Stats, error) {
	for _, fd := range []int{cfd, mfd} {
		if err := neverWait(fd); err != nil {
			return Stats{}, err
		}
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1) // where it is TCP
	}
	var up, down pump.Flow
	c, m := pump.End{FD: cfd}, pump.End{FD: mfd}
	if err := attach(client, mailhost, &c, &m, &up, &down, o.First); err != nil {
		return Stats{}, err
	}
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
	defer shop.Close()
	defer up.Stop(shop, nil)
	defer down.Stop(shop, nil)
	stats := func() Stats { return Stats{FromClient: up.Moved, FromMailhost: down.Moved} }

	patience := pump.Patience{Limit: o.halfClosed()}
	begun, young := time.Now(), true
	var us, ds pump.Status
	upNow, downNow := true, true // a flow with nothing to do would cost a system call to find that out
	for {
		if upNow {
			us = up.Run(shop, &c, &m)
		}
		if downNow {
			ds = down.Run(shop, &m, &c)
		}
		// After a reset nobody reads what the other side may still send.
		if us == pump.Done && ds == pump.Done || up.Cut() || down.Cut() || us == pump.Done && up.Err != nil && c.Gone() || ds == pump.Done && down.Err != nil && m.Gone() {
			return stats(), errors.Join(up.Err, down.Err)
		}
		now := time.Now()
		if young && now.Sub(begun) >= youth {
			young = false
			Tune(cfd, o.KeepAlive)
			Tune(mfd, o.KeepAlive)
		}
		left := patience.Left(&up, &down, now)
		if left <= 0 {
			return stats(), ErrHalfClosed
		}
		fds := []unix.PollFd{watch(&up, &down, &c, &m), watch(&down, &up, &m, &c), {Fd: int32(wake), Events: unix.POLLIN}}
		busy := up.Bulky() || down.Bulky() || c.Bulky() || m.Bulky()
		timeout := -1
		if us == pump.More || ds == pump.More {
			timeout = 0
		} else if busy {
			timeout = int(settle / time.Millisecond)
		}
		if ms := int(min(left/time.Millisecond, 1<<30)) + 1; left < math.MaxInt64 && (timeout < 0 || ms < timeout) {
			timeout = ms
		}
		resting := timeout == int(settle/time.Millisecond)
		if ms := int((youth-now.Sub(begun))/time.Millisecond) + 1; young && (timeout < 0 || ms < timeout) {
			timeout, resting = ms, false
		}
		n, err := unix.Poll(fds, timeout)
		switch {
		case err != nil && err != unix.EINTR:
			return stats(), err
		case fds[2].Revents != 0:
			return stats(), ctx.Err()
		case n == 0 && resting:
			up.Rest(shop)
			down.Rest(shop)
			c.Rest()
			m.Rest()
			shop.Release()
		}
		upNow = us == pump.More || due(fds[0], fds[1])
		downNow = ds == pump.More || due(fds[1], fds[0])
	}
}

// due reports whether poll has seen something for the flow that reads from and writes to.
func due(from, to unix.PollFd) bool {
	return from.Revents&^unix.POLLOUT != 0 || to.Revents&^unix.POLLIN != 0
}

// watch returns what poll has to watch a connection for.
func watch(from, to *pump.Flow, self, other *pump.End) unix.PollFd {
	p := unix.PollFd{Fd: int32(self.FD)}
	in, out := pump.Want(from, to, self, other)
	if in {
		p.Events |= unix.POLLIN
	}
	if out {
		p.Events |= unix.POLLOUT
	}
	if p.Events == 0 {
		p.Fd = -1 // POLLHUP can not be masked, and what it tells is seen when its turn comes
	}
	return p
}

// rawSocket returns the descriptor of a stream socket, nil for anything else.
func rawSocket(c any) syscall.RawConn {
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

// neverWait makes a descriptor non-blocking where it is not: splice(2) heeds nothing else.
func neverWait(fd int) error {
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	if err == nil && flags&unix.O_NONBLOCK == 0 {
		_, err = unix.FcntlInt(uintptr(fd), unix.F_SETFL, flags|unix.O_NONBLOCK)
	}
	return os.NewSyscallError("fcntl", err)
}

// tune sets NODELAY and keepalive where the connection is TCP; elsewhere it does nothing.
func tune(c Conn, o Options) {
	under := any(c)
	if t, ok := c.(interface{ Below() any }); ok {
		under = t.Below()
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
