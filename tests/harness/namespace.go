package harness

import (
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// furnish prepares fresh namespaces: nothing mounted here is seen outside, loopback is up, Courier's
// directories are copies.
func furnish(dir string) error {
	if err := unix.Mount("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make the mounts private: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	if err := loopbackUp(); err != nil {
		return fmt.Errorf("bring loopback up: %w", err)
	}
	if err := privateDev(filepath.Join(dir, "dev")); err != nil {
		return fmt.Errorf("make a private /dev: %w", err)
	}
	if err := courierDirectories(dir); err != nil {
		return err
	}
	if err := names(dir); err != nil {
		return fmt.Errorf("private host names: %w", err)
	}
	return limitFiles()
}

// names gives the island its own /etc/hosts, and a name server that is not there.
func names(dir string) error {
	for place, text := range map[string]string{hostsFile: basicHosts,
		"/etc/resolv.conf": "nameserver 127.0.0.53\n"} {
		path := filepath.Join(dir, filepath.Base(place))
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return err
		}
		if err := unix.Mount(path, place, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("bind %s: %w", place, err)
		}
	}
	return nil
}

const (
	hostsFile  = "/etc/hosts"
	basicHosts = "127.0.0.1 localhost\n::1 localhost\n"
)

// Hosts makes /etc/hosts hold these lines besides localhost.
func Hosts(t testing.TB, lines ...string) {
	t.Helper()
	Root(t)
	WriteFile(t, hostsFile, basicHosts+strings.Join(lines, "\n")+"\n", 0o644)
}

// limitFiles gives the servers the soft limit on file descriptors of a real machine. Some close every
// possible descriptor when they start a helper (Courier's imapd with gamin), which takes seconds under a
// container's million.
func limitFiles() error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	limit.Cur = min(4096, limit.Max)
	return syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)
}

func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	req, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFFLAGS, req); err != nil {
		return err
	}
	req.SetUint16(req.Uint16() | unix.IFF_UP | unix.IFF_RUNNING)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, req)
}

// privateDev puts a small /dev in place of the machine's, in which a test can make /dev/log.
func privateDev(dir string) error {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID, "mode=755,size=1m"); err != nil {
		return err
	}
	for _, name := range []string{"null", "zero", "full", "random", "urandom", "tty"} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, nil, 0o666); err != nil {
			return err
		}
		if err := unix.Mount("/dev/"+name, path, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	for _, name := range []string{"pts", "shm"} {
		if _, err := os.Stat("/dev/" + name); err != nil {
			continue
		}
		path := filepath.Join(dir, name)
		if err := os.Mkdir(path, 0o755); err != nil {
			return err
		}
		if err := unix.Mount("/dev/"+name, path, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	for link, target := range map[string]string{"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0",
		"stdout": "/proc/self/fd/1",
		"stderr": "/proc/self/fd/2", "ptmx": "pts/ptmx"} {
		if err := os.Symlink(target, filepath.Join(dir, link)); err != nil {
			return err
		}
	}
	return unix.Mount(dir, "/dev", "", unix.MS_MOVE, "")
}

// courierDirectories lays a copy over /etc/courier and an empty tree over /run/courier, and an empty
// directory over /run/mailproxy. The compiled-in socket of authdaemond is /run/courier/authdaemon/socket,
// so each package has an authdaemond of its own there.
func courierDirectories(dir string) error {
	if _, err := os.Stat("/etc/courier/authdaemonrc"); err != nil {
		return fmt.Errorf("courier is not installed (run tests/install.sh): %w", err)
	}
	etc, run := filepath.Join(dir, "etc-courier"), filepath.Join(dir, "run-courier")
	if out, err := exec.Command("cp", "-a", "/etc/courier", etc).CombinedOutput(); err != nil {
		return fmt.Errorf("copy /etc/courier: %w: %s", err, out)
	}
	uid, gid, err := ids("courier")
	if err != nil {
		return err
	}
	for path, mode := range map[string]os.FileMode{run: 0o775, filepath.Join(run, "authdaemon"): 0o750} {
		if err := os.MkdirAll(path, 0o755); err != nil {
			return err
		}
		if err := os.Chown(path, uid, gid); err != nil {
			return err
		}
		if err := os.Chmod(path, mode); err != nil {
			return err
		}
	}
	own := filepath.Join(dir, "run-mailproxy")
	for _, path := range []string{own, "/run/courier", "/run/mailproxy"} {
		if err := os.MkdirAll(path, 0o755); err != nil {
			return err
		}
	}
	for place, from := range map[string]string{"/etc/courier": etc, "/run/courier": run, "/run/mailproxy": own} {
		if err := unix.Mount(from, place, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("bind %s: %w", place, err)
		}
	}
	return nil
}

// ids returns uid and primary gid of a system user.
func ids(name string) (uid, gid int, err error) {
	u, err := user.Lookup(name)
	if err != nil {
		return 0, 0, err
	}
	if uid, err = strconv.Atoi(u.Uid); err == nil {
		gid, err = strconv.Atoi(u.Gid)
	}
	return uid, gid, err
}
