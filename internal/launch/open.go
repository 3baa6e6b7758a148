// Package launch turns what a launcher (couriertcpd, tcpserver, tcpsvd, systemd, xinetd) hands to a program
// into values: the connection, the peer's address, and where the log goes.
//
// It takes what launchers say from the environment that it is given, and makes the listening sockets of a
// program that no launcher gave any. It deliberately reads no setting and speaks no protocol: of IMAP, POP3
// and TLS it knows the names of sockets whose connections begin with TLS.
package launch

import (
	"fmt"
	"io/fs"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"mailproxy/internal/config"
	"mailproxy/internal/maillog"
)

// Conn is a connection whose two directions can be ended one by one: *net.TCPConn, *net.UnixConn,
// *tls.Conn, and the pair of pipes that some launchers use.
type Conn interface {
	net.Conn
	// CloseWrite ends our direction: the peer reads what was written and then the end of the stream.
	CloseWrite() error
}

// Request is what a program was started with.
type Request struct {
	// Name is the program's name in syslog.
	Name string
	// Environ is the environment.
	Environ []string
	// Stdin, Stdout and Stderr are the file descriptors the launcher gave. Open takes the first two over:
	// afterwards they are /dev/null, so that nothing but Conn can reach the client. When Stderr is the
	// connection itself it leads to the syslog service afterwards.
	Stdin, Stdout, Stderr *os.File
	// Passed are systemd's files, see systemd.Files: one connection, or the listening sockets. They become
	// Open's or Listen's as well.
	Passed []*os.File
}

// Launch is what the launcher handed over.
type Launch struct {
	Conn Conn
	Peer Peer
	Log  *maillog.Log
}

// Open makes a Launch of a Request. With an error the Launch still has the Log, and the Conn when there is
// one, so that the program can say so at both ends. The caller closes Conn.
func Open(req Request) (*Launch, error) {
	environment := config.Environment(req.Environ)
	taken := len(req.Passed) == 0 && isTaken(req)
	l := &Launch{Log: openLog(req, environment, taken)}
	conn, err := openConn(req, taken)
	if err != nil {
		return l, err
	}
	l.Conn = conn
	// File descriptors that the launcher leaked must not reach the programs that are started from here.
	if err := CloseOnExec(); err != nil {
		return l, err
	}
	l.Peer = NewPeer(environment, conn)
	return l, nil
}

// openConn finds the connection: what systemd has passed, or standard input and output.
func openConn(req Request, taken bool) (Conn, error) {
	if n := len(req.Passed); n > 0 {
		if n > 1 {
			return nil, fmt.Errorf("LISTEN_FDS=%d: exactly one connection was expected", n)
		}
		defer req.Passed[0].Close()
		return socketConn(req.Passed[0])
	}
	in, err := req.Stdin.Stat()
	if err != nil {
		return nil, fmt.Errorf("standard input: %w", err)
	}
	out, err := req.Stdout.Stat()
	if err != nil {
		return nil, fmt.Errorf("standard output: %w", err)
	}
	var conn Conn
	if in.Mode()&fs.ModeSocket != 0 && os.SameFile(in, out) {
		conn, err = socketConn(req.Stdin)
	} else {
		conn, err = newPipes(req.Stdin, req.Stdout)
	}
	if err != nil {
		return nil, err
	}
	err = toDevNull(req.Stdin, req.Stdout)
	if err == nil && taken {
		err = toSyslog(req.Stderr)
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// toSyslog leads a file to the syslog service, or to /dev/null where there is none. It is for the standard
// error of a local server, whose lines would otherwise reach the client: each write becomes a message, of
// syslog's default facility and without a time, but it is there.
func toSyslog(file *os.File) error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: "/dev/log"}); err != nil {
		return toDevNull(file)
	}
	return Control(file, func(target int) error { return os.NewSyscallError("dup3", unix.Dup3(fd, target, 0)) })
}

// socketConn makes a connection of a copy of a stream socket. The caller still owns file. The socket is
// non-blocking from then on, for everybody who has it open.
func socketConn(file *os.File) (Conn, error) {
	var keepAlive net.KeepAliveConfig
	err := Control(file, func(fd int) error {
		keepAlive = keepAliveOf(fd)
		return nil
	})
	if err != nil {
		return nil, err
	}
	c, err := net.FileConn(file)
	if err != nil {
		return nil, err
	}
	conn, ok := c.(Conn)
	if !ok {
		c.Close()
		return nil, fmt.Errorf("%s is not a stream socket", file.Name())
	}
	if tcp, ok := c.(*net.TCPConn); ok {
		if err := tcp.SetKeepAliveConfig(keepAlive); err != nil {
			c.Close()
			return nil, err
		}
	}
	return conn, nil
}

// keepAliveOf reads the TCP keepalive of a socket: the launcher's choice, which a local server inherits,
// and which package net replaces by its own.
func keepAliveOf(fd int) net.KeepAliveConfig {
	option := func(level, name int) int {
		n, err := unix.GetsockoptInt(fd, level, name)
		if err != nil { // not TCP
			return 0
		}
		return n
	}
	seconds := func(name int) time.Duration {
		return time.Duration(option(unix.IPPROTO_TCP, name)) * time.Second
	}
	return net.KeepAliveConfig{
		Enable:   option(unix.SOL_SOCKET, unix.SO_KEEPALIVE) != 0,
		Idle:     seconds(unix.TCP_KEEPIDLE),
		Interval: seconds(unix.TCP_KEEPINTVL),
		Count:    option(unix.IPPROTO_TCP, unix.TCP_KEEPCNT),
	}
}

// Pair returns the two connected ends of a stream socket: one as a connection, the other, blocking, for a
// program to be started with.
func Pair() (near Conn, far *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "socketpair"), os.NewFile(uintptr(fds[1]), "socketpair")
	defer ours.Close()
	near, err = socketConn(ours)
	if err != nil {
		theirs.Close()
		return nil, nil, err
	}
	return near, theirs, nil
}

// openLog decides where log lines go. Standard error is the log, unless it is the connection itself, as
// under xinetd.
func openLog(req Request, environment config.Raw, taken bool) *maillog.Log {
	if _, err := req.Stderr.Stat(); err != nil || taken {
		return maillog.NewSyslog(req.Name)
	}
	// A write to file descriptor 2 whose reader is gone would end the process with SIGPIPE; to a copy of it, it
	// is an error.
	fd, err := unix.FcntlInt(req.Stderr.Fd(), unix.F_DUPFD_CLOEXEC, firstFD)
	if err != nil {
		return maillog.NewSyslog(req.Name)
	}
	stderr := os.NewFile(uintptr(fd), "standard error")
	return maillog.Open(stderr, req.Name, environment.Get("JOURNAL_STREAM"))
}

// isTaken says whether standard error is the same open socket or pipe as standard input or output, where
// the client is. On a terminal the three are one and the same, too, but then the client is who reads the
// log.
func isTaken(req Request) bool {
	info, err := req.Stderr.Stat()
	if err != nil || isTerminal(req.Stderr) {
		return false
	}
	for _, f := range []*os.File{req.Stdin, req.Stdout} {
		if other, err := f.Stat(); err == nil && os.SameFile(other, info) {
			return true
		}
	}
	return false
}

// toDevNull puts /dev/null in the place of open files, which keep their file descriptor numbers.
func toDevNull(files ...*os.File) error {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	for _, f := range files {
		if err := Control(f, func(fd int) error { return unix.Dup3(int(null.Fd()), fd, 0) }); err != nil {
			return fmt.Errorf("%s: %w", f.Name(), err)
		}
	}
	return nil
}

func isTerminal(f *os.File) bool {
	return Control(f, func(fd int) error {
		_, err := unix.IoctlGetTermios(fd, unix.TCGETS)
		return err
	}) == nil
}
