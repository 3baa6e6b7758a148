// Package systemd is what a service and systemd say to each other: sockets that systemd has opened
// (sd_listen_fds(3)), the service's state (sd_notify(3)), and log lines with the journal's levels
// (sd-daemon(3)). Without systemd there are no sockets, nobody is told, and lines stay as they are.
package systemd

import (
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
	"golang.org/x/sys/unix"
)

// Kind is what a socket is for, which a unit says with FileDescriptorName=.
type Kind string

// The kinds of sockets of our services.
const (
	Service Kind = "socket"  // where the service is asked for what it is there for
	Metrics Kind = "metrics" // where Prometheus asks
)

// Sockets returns the listening sockets that systemd has opened for this process, the caller's to close, and
// takes their variables out of the environment. A socket without one of the names above is for metrics when
// its type is not that of the service's own socket, service (unix.SOCK_STREAM, ...); systemd's default for
// the name is that of the unit.
func Sockets(service int) map[Kind][]*os.File {
	sockets := make(map[Kind][]*os.File)
	for _, f := range activation.Files(true) {
		kind := Kind(f.Name())
		if kind != Service && kind != Metrics {
			kind = Service
			if t, err := unix.GetsockoptInt(int(f.Fd()), unix.SOL_SOCKET, unix.SO_TYPE); err == nil && t != service {
				kind = Metrics
			}
		}
		sockets[kind] = append(sockets[kind], f)
	}
	return sockets
}

// notifyTime is for systemd to take a message: it takes none while it reads its units anew.
const notifyTime = 10 * time.Second

// Notify tells systemd the service's state, such as READY=1, and waits for that at most for notifyTime.
// Without systemd it does nothing.
func Notify(state string) error { return notify(state, notifyTime) }

func notify(state string, limit time.Duration) error {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return nil
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Net: "unixgram", Name: path})
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetWriteDeadline(time.Now().Add(limit)); err != nil {
		return err
	}
	_, err = io.WriteString(c, state)
	return err
}

// Reloading tells systemd that the service reads its settings again. READY=1 tells the end of that.
func Reloading() error {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return err
	}
	return Notify("RELOADING=1\nMONOTONIC_USEC=" + strconv.FormatInt(now.Nano()/1000, 10))
}

// Ready tells systemd that the service is there, in the process with that id.
func Ready(pid int) error { return Notify("READY=1\nMAINPID=" + strconv.Itoa(pid)) }

// Watched says whether a process with this environment tells systemd its state.
func Watched(environ []string) bool {
	return slices.ContainsFunc(environ, func(v string) bool {
		value, ok := strings.CutPrefix(v, "NOTIFY_SOCKET=")
		return ok && value != ""
	})
}
