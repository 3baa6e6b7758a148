package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// firstInherited is the first descriptor of systemd's socket activation, sd_listen_fds(3).
const firstInherited = 3

// inherited returns the listening sockets that the service manager passed, if any.
func inherited(getenv func(string) string) ([]*net.UnixListener, error) {
	if getenv("LISTEN_PID") != strconv.Itoa(os.Getpid()) {
		return nil, nil
	}
	n, err := strconv.Atoi(getenv("LISTEN_FDS"))
	if err != nil || n < 0 || n > 64 {
		return nil, fmt.Errorf("LISTEN_FDS=%q", getenv("LISTEN_FDS"))
	}
	var listeners []*net.UnixListener
	for fd := firstInherited; fd < firstInherited+n; fd++ {
		syscall.CloseOnExec(fd)
		f := os.NewFile(uintptr(fd), "socket of the service manager")
		l, err := net.FileListener(f)
		f.Close()
		if err != nil {
			return nil, fmt.Errorf("descriptor %d of the service manager: %w", fd, err)
		}
		u, ok := l.(*net.UnixListener)
		if !ok {
			return nil, fmt.Errorf("descriptor %d of the service manager is not a unix socket", fd)
		}
		u.SetUnlinkOnClose(false)
		listeners = append(listeners, u)
	}
	return listeners, nil
}

// listen makes the socket <folder>/socket. Everybody may connect who may enter the folder, so a folder made here lets in
// its group only. A socket that nobody listens on any more is replaced; one that somebody listens on is an error.
func listen(folder string, uid, gid int) (*net.UnixListener, error) {
	if err := os.MkdirAll(folder, 0o750); err != nil {
		return nil, err
	}
	if gid >= 0 {
		if info, err := os.Stat(folder); err == nil && owned(info, 0) && os.Geteuid() == 0 {
			// Made just now, or by somebody who forgot: without this nobody but root can enter.
			if err := os.Chown(folder, uid, gid); err != nil {
				return nil, err
			}
		}
	}
	path := filepath.Join(folder, "socket")
	if c, err := net.DialTimeout("unix", path, time.Second); err == nil {
		c.Close()
		return nil, fmt.Errorf("%s: another authdaemond listens there", path)
	} else if !errors.Is(err, syscall.ENOENT) && !errors.Is(err, syscall.ECONNREFUSED) {
		return nil, err
	}
	// Under its final name the socket appears when it is ready, mode and all.
	tmp := filepath.Join(folder, fmt.Sprintf(".socket.%d", os.Getpid()))
	if err := os.Remove(tmp); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: tmp, Net: "unix"})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false)
	err = os.Chmod(tmp, 0o777)
	if err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		l.Close()
		os.Remove(tmp)
		return nil, err
	}
	return l, nil
}

// owned tells whether a file belongs to a user.
func owned(info os.FileInfo, uid uint32) bool {
	s, ok := info.Sys().(*syscall.Stat_t)
	return ok && s.Uid == uid
}

// notify tells the service manager about the daemon's state, sd_notify(3). Without one it does nothing.
func notify(getenv func(string) string, state string) error {
	path := getenv("NOTIFY_SOCKET")
	if path == "" {
		return nil
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.Write([]byte(state))
	return err
}
