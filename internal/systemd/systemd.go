// Package systemd is the interface to systemd, by go-systemd: sockets that systemd has opened
// (sd_listen_fds(3)) and the service's state (sd_notify(3)). Without systemd there are no sockets, and
// notifications do nothing. The journal is package maillog's.
package systemd

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
	"github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sys/unix"
)

// Kind is what a socket is for, which a unit says with FileDescriptorName=.
type Kind string

// The kinds of sockets of our services.
const (
	Service Kind = "socket"  // where the service is asked for what it is there for
	Metrics Kind = "metrics" // where Prometheus asks
)

// Files returns the sockets that systemd has opened for this process or accepted for it, the caller's to
// close, in their order; a file's name is that of FileDescriptorName=. It takes their variables out of the
// environment, so that there are none the next time.
func Files() []*os.File { return activation.Files(true) }

// Sockets returns the listening sockets among Files. A socket without one of the names above is for metrics
// when its type is not that of the service's own socket, service (unix.SOCK_STREAM, ...); systemd's default
// for the name is that of the unit.
func Sockets(service int) map[Kind][]*os.File {
	sockets := make(map[Kind][]*os.File)
	for _, f := range Files() {
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

// Notify tells systemd the service's state, such as READY=1, and waits for that at most for notifyTime: a
// message that has not been taken by then still may be. Without systemd it does nothing.
func Notify(state string) error { return notify(state, notifyTime) }

func notify(state string, limit time.Duration) error {
	sent := make(chan error, 1)
	go func() {
		_, err := daemon.SdNotify(false, state)
		sent <- err
	}()
	select {
	case err := <-sent:
		return err
	case <-time.After(limit):
		return fmt.Errorf("systemd takes no message: %w", os.ErrDeadlineExceeded)
	}
}

// Reloading tells systemd that the service reads its settings again. READY=1 tells the end of that.
func Reloading() error {
	return Notify(daemon.SdNotifyReloading + "\n" + daemon.SdNotifyMonotonicUsec())
}

// Ready tells systemd that the service is there, in the process with that id.
func Ready(pid int) error { return Notify(daemon.SdNotifyReady + "\nMAINPID=" + strconv.Itoa(pid)) }

// Watched says whether a process with this environment tells systemd its state.
func Watched(environ []string) bool {
	return slices.ContainsFunc(environ, func(v string) bool {
		value, ok := strings.CutPrefix(v, "NOTIFY_SOCKET=")
		return ok && value != ""
	})
}
