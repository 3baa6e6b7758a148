package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// launcher accepts connections and starts a program for each, which gets the connection as standard input
// and output and who is at its ends in the environment: what tcpserver does.
type launcher struct {
	addr     string
	listener *net.TCPListener
	program  []string
	environ  []string
	out      *output
	running  sync.WaitGroup
}

// startProxy listens and runs imapd-proxy. Were there local accounts, /bin/false would be their IMAP server.
func startProxy(ctx context.Context, bin, listen, authSocket string, out *output) (*launcher, error) {
	program := filepath.Join(bin, "imapd-proxy")
	if _, err := os.Stat(program); err != nil {
		return nil, fmt.Errorf("%w (make build)", err)
	}
	listener, err := net.Listen("tcp", listen)
	if errors.Is(err, syscall.EADDRINUSE) {
		listener, err = net.Listen("tcp", "127.0.0.1:0")
	}
	if err != nil {
		return nil, err
	}
	l := &launcher{
		addr:     listener.Addr().String(),
		listener: listener.(*net.TCPListener),
		program:  []string{program, "/bin/false", "Maildir"},
		environ: []string{
			"PATH=" + os.Getenv("PATH"),
			"IMAP_PROXY=1",
			"IMAP_CAPABILITY=IMAP4rev1 NAMESPACE AUTH=PLAIN",
			"AUTHDAEMON_SOCKET=" + authSocket,
		},
		out: out,
	}
	go l.serve(ctx)
	return l, nil
}

func (l *launcher) serve(ctx context.Context) {
	for {
		conn, err := l.listener.AcceptTCP()
		if err != nil {
			return // closed by stop
		}
		l.running.Go(func() {
			defer conn.Close()
			if err := l.start(ctx, conn); err != nil {
				fmt.Fprintln(l.out.log("launcher"), err)
			}
		})
	}
}

// start runs the program on one connection and waits for its end.
func (l *launcher) start(ctx context.Context, conn *net.TCPConn) error {
	file, err := conn.File()
	if err != nil {
		return err
	}
	defer file.Close()
	cmd := exec.CommandContext(ctx, l.program[0], l.program[1:]...)
	remote, local := conn.RemoteAddr().(*net.TCPAddr), conn.LocalAddr().(*net.TCPAddr)
	cmd.Env = append(l.environ,
		"PROTO=TCP",
		"TCPREMOTEIP="+remote.IP.String(), "TCPREMOTEPORT="+strconv.Itoa(remote.Port),
		"TCPLOCALIP="+local.IP.String(), "TCPLOCALPORT="+strconv.Itoa(local.Port))
	cmd.Stdin, cmd.Stdout, cmd.Stderr = file, file, l.out.log("imapd-proxy")
	if err := cmd.Run(); err != nil && ctx.Err() == nil {
		return fmt.Errorf("imapd-proxy: %w", err)
	}
	return nil
}

// wait waits until no session is left.
func (l *launcher) wait(limit time.Duration) error {
	idle := make(chan struct{})
	go func() {
		l.running.Wait()
		close(idle)
	}()
	select {
	case <-idle:
		return nil
	case <-time.After(limit):
		return errors.New("a session is over, but its imapd-proxy still runs")
	}
}

// stop accepts no more.
func (l *launcher) stop() { l.listener.Close() }
