package successor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Handoff is the name of the connection on which a process gives its sessions to its successor.
const Handoff = "handoff"

// firstDescriptor is the number of the first inherited file descriptor.
const firstDescriptor = 3

// Descriptor is what a successor inherits: a connection or a listening socket, by name.
type Descriptor struct {
	Name string
	Conn any // a syscall.Conn
}

// Inherited returns what this process has inherited: value is that of the variable that Program.Variable
// names, a list of names with commas, of the file descriptors from 3 on. The files have these names.
func Inherited(value string) (files []*os.File) {
	if value == "" {
		return nil
	}
	for i, name := range strings.Split(value, ",") {
		unix.CloseOnExec(firstDescriptor + i)
		files = append(files, os.NewFile(uintptr(firstDescriptor+i), name))
	}
	return files
}

// Conn makes a connection of a file, a unix socket, which it closes.
func Conn(f *os.File) (*net.UnixConn, error) {
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	u, ok := c.(*net.UnixConn)
	if !ok {
		c.Close()
		return nil, errors.New(f.Name() + " is not a unix socket")
	}
	return u, nil
}

// TakeOver has take the sessions that the old process gives away on c, and returns how many there were. A
// signal ends that: then the old process goes on.
func TakeOver(ctx context.Context, c *net.UnixConn, take func(context.Context, *net.UnixConn) (int, error)) (
	*int, error) {
	defer c.Close()
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	n, err := take(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("taking over: %w", err)
	}
	return &n, nil
}
