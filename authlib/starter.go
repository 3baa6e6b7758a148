package authlib

import (
	"context"
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// Starter starts an authdaemond for one request over a socket pair, for hosts without a resident one. Its
// Start is a [Client.OneShot].
type Starter struct {
	// Program is the path of authdaemond, Args what follows "authdaemond -once".
	Program string
	Args    []string
	// Environ is the whole environment of the program.
	Environ []string
	// Stderr receives its log; nil = nowhere. Never pass a standard error that is a client's connection.
	Stderr *os.File
}

// Start starts the program with its end of the pair as standard input and output. Closing the connection
// waits for the program, and kills it if it does not end by itself within two seconds, so that no child
// outlives the question: the process may become another program, which does not expect children. The end of
// ctx kills the program.
func (s *Starter) Start(ctx context.Context) (net.Conn, error) {
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("socketpair: %w", err)
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "authdaemond"), os.NewFile(uintptr(pair[1]), "authdaemond")
	defer ours.Close()
	defer theirs.Close()
	conn, err := net.FileConn(ours)
	if err != nil {
		return nil, err
	}
	stderr := s.Stderr
	if stderr == nil {
		if stderr, err = os.OpenFile(os.DevNull, os.O_WRONLY, 0); err != nil {
			conn.Close()
			return nil, err
		}
		defer stderr.Close()
	}
	process, err := os.StartProcess(s.Program, append([]string{"authdaemond", "-once"}, s.Args...),
		&os.ProcAttr{Env: s.Environ, Files: []*os.File{theirs, theirs, stderr}})
	if err != nil {
		conn.Close()
		return nil, err
	}
	c := &child{Conn: conn, process: process}
	c.stop = context.AfterFunc(ctx, func() { _ = process.Kill() })
	return c, nil
}

// child is a connection to a process of our own.
type child struct {
	net.Conn
	process *os.Process
	stop    func() bool
	once    sync.Once
	err     error
}

// Close closes the connection and reaps the process.
func (c *child) Close() error {
	c.once.Do(func() {
		c.err = c.Conn.Close()
		timer := time.AfterFunc(2*time.Second, func() { _ = c.process.Kill() })
		_, err := c.process.Wait()
		timer.Stop()
		c.stop()
		if c.err == nil {
			c.err = err
		}
	})
	return c.err
}
