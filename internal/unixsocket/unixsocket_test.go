package unixsocket_test

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"mailproxy/internal/identity"
	"mailproxy/internal/unixsocket"
	"mailproxy/tests/testlog"
)

const serviceUID, serviceGID = 40001, 40002

// service is the user that the service under test becomes.
var service = &identity.User{UID: serviceUID, GID: serviceGID}

// stream is a socket of that service.
func stream(path string, mkdir bool) *unixsocket.Socket {
	return &unixsocket.Socket{Path: path, Type: unix.SOCK_STREAM, Mode: 0o777, User: service, MakeDir: mkdir}
}

// place is a directory that is its owner's alone, below one that everybody may enter.
func place(t *testing.T, uid int, mode os.FileMode) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("these tests need root")
	}
	dir := filepath.Join(t.TempDir(), "place")
	err := os.Mkdir(dir, 0o700)
	for _, step := range []func() error{
		func() error { return os.Chmod(filepath.Dir(filepath.Dir(dir)), 0o755) },
		func() error { return os.Chmod(filepath.Dir(dir), 0o755) },
		func() error { return os.Chmod(dir, mode) },
		func() error { return os.Chown(dir, uid, uid) },
	} {
		err = errors.Join(err, step())
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// owner tells who a file belongs to, and its type and mode.
func owner(t *testing.T, path string) (uid, gid int, mode os.FileMode) {
	t.Helper()
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	st := info.Sys().(*syscall.Stat_t)
	return int(st.Uid), int(st.Gid), info.Mode()
}

// TestListen: whose the directory may be, and whose the socket then is; the mode is there whatever the umask.
func TestListen(t *testing.T) {
	old := unix.Umask(0o077)
	defer unix.Umask(old)
	for name, test := range map[string]struct {
		uid    int
		mode   os.FileMode
		user   *identity.User
		reason string // of the error
	}{
		"root's":                      {0, 0o755, service, ""},
		"root's, for the group":       {0, 0o750, service, ""},
		"root's, who stays root":      {0, 0o700, nil, ""},
		"the service's":               {serviceUID, 0o750, service, ""},
		"the service's, root stays":   {serviceUID, 0o750, nil, "must belong to"},
		"somebody else's":             {40003, 0o755, service, "must belong to root or user 40001"},
		"root's, its group may write": {0, 0o770, service, "nobody else may write to it"},
		"root's, all may write":       {0, 0o777 | os.ModeSticky, service, "nobody else may write to it"},
		"the service's and others'":   {serviceUID, 0o775, service, "nobody else may write to it"},
	} {
		path := filepath.Join(place(t, test.uid, test.mode), "socket")
		for _, kind := range []int{unix.SOCK_STREAM, unix.SOCK_SEQPACKET} {
			l, err := (&unixsocket.Socket{Path: path, Type: kind, Mode: 0o660, User: test.user}).Listen()
			if test.reason != "" {
				if err == nil || !strings.Contains(err.Error(), test.reason) || !strings.Contains(err.Error(), path) {
					t.Errorf("%s: %v", name, err)
				}
				continue
			}
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			if uid, _, mode := owner(t, path); uid != test.uid || mode != os.ModeSocket|0o660 {
				t.Errorf("%s: the socket is %d's, %v", name, uid, mode)
			}
			if got := unixsocket.Path(l, path); got != path {
				t.Errorf("%s: it listens at %s", name, got)
			}
			network := map[int]string{unix.SOCK_STREAM: "unix", unix.SOCK_SEQPACKET: "unixpacket"}[kind]
			c, err := net.Dial(network, path)
			if err != nil {
				t.Errorf("%s: %v", name, err)
			} else {
				c.Close()
			}
			for _, again := range []int{unix.SOCK_STREAM, unix.SOCK_SEQPACKET} {
				second := &unixsocket.Socket{Path: path, Type: again, Mode: 0o660, User: test.user}
				if _, err := second.Listen(); !errors.Is(err, unixsocket.ErrInUse) {
					t.Errorf("%s: a second service: %v", name, err)
				}
			}
			l.Close() // the next one replaces it
			if kind == unix.SOCK_SEQPACKET {
				l.Remove()
			}
		}
		if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), "*")); len(left) > 0 {
			t.Errorf("%s: left: %q", name, left)
		}
		if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".*")); len(left) > 0 {
			t.Errorf("%s: left: %q", name, left)
		}
	}
}

// TestPath: a socket that another program has made has its name.
func TestPath(t *testing.T) {
	path := filepath.Join(t.TempDir(), "socket")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if got := unixsocket.Path(l, "other"); got != path {
		t.Errorf("it listens at %s", got)
	}
}

// TestMakeDir: a directory is made for the service's group where root is alone, with the service's rights
// where it may write.
func TestMakeDir(t *testing.T) {
	for name, test := range map[string]struct {
		parent string
		uid    int // of what is made; -1 = nothing is
	}{
		"in root's":          {place(t, 0, 0o755), 0},
		"in the service's":   {place(t, serviceUID, 0o755), serviceUID},
		"in somebody else's": {place(t, 40003, 0o755), -1},
	} {
		dir := filepath.Join(test.parent, "new")
		l, err := stream(filepath.Join(dir, "socket"), true).Listen()
		if test.uid < 0 {
			if err == nil {
				t.Errorf("%s: made", name)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if uid, gid, mode := owner(t, dir); uid != test.uid || gid != serviceGID || mode.Perm() != 0o750 {
			t.Errorf("%s: made for %d:%d, %v", name, uid, gid, mode)
		}
		l.Close()
		l.Remove()
	}
}

// TestLinks: links and files in the way lead nowhere and stay as they are.
func TestLinks(t *testing.T) {
	victim := place(t, 0, 0o700)
	file := filepath.Join(victim, "file")
	if err := os.WriteFile(file, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	own := place(t, serviceUID, 0o755)
	dangling := filepath.Join(victim, "new")
	for name, target := range map[string]string{"dir": victim, "link": file, "dangling": dangling} {
		if err := os.Symlink(target, filepath.Join(own, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(own, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"dir/socket", "link", "dangling", "file", "file/socket", "dir/deeper/socket",
		"new/../dir/socket"} {
		for _, mkdir := range []bool{false, true} {
			l, err := stream(filepath.Join(own, path), mkdir).Listen()
			if err == nil {
				l.Close()
				t.Errorf("%s: listens", path)
			}
		}
	}
	if uid, gid, mode := owner(t, victim); uid != 0 || gid != 0 || mode.Perm() != 0o700 {
		t.Errorf("the directory is now %d:%d, %v", uid, gid, mode)
	}
	if uid, _, mode := owner(t, file); uid != 0 || mode != 0o600 {
		t.Errorf("the file is now %d's, %v", uid, mode)
	}
	if found, _ := filepath.Glob(filepath.Join(victim, "*")); len(found) != 1 {
		t.Errorf("made elsewhere: %q", found)
	}
	// A link that root has put where nobody else can write is followed, as /var/run is.
	roots := place(t, 0, 0o755)
	if err := os.Mkdir(filepath.Join(victim, "sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(victim, filepath.Join(roots, "run")); err != nil {
		t.Fatal(err)
	}
	l, err := stream(filepath.Join(roots, "run/sub/socket"), false).Listen()
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	l.Remove()
}

// TestRace: the directory's owner exchanges the socket's names, and the directory, for links as fast as it
// can. Root changes, makes and removes nothing outside.
func TestRace(t *testing.T) {
	victim := place(t, 0, 0o700)
	for _, name := range []string{"socket", "file"} {
		if err := os.WriteFile(filepath.Join(victim, name), []byte("secret"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	own := place(t, serviceUID, 0o755)
	dir := filepath.Join(own, "run")
	stop := make(chan struct{})
	var attack sync.WaitGroup
	for _, step := range []func(){
		func() { _ = os.Symlink(victim, dir) },
		func() { _ = os.Remove(dir) },
		func() { _ = os.Rename(dir, dir+".away") },
		func() { _ = os.RemoveAll(dir + ".away") },
		func() { _ = os.Symlink(filepath.Join(victim, "file"), filepath.Join(dir, "socket")) },
		func() { _ = os.Remove(filepath.Join(own, "run", "socket")) },
	} {
		attack.Go(func() {
			// As the owner, not as root, which could remove the victim's files itself.
			for {
				select {
				case <-stop:
					return
				default:
					as(service, step)
				}
			}
		})
	}
	made := 0
	end := time.Now().Add(testlog.Patience)
	for n := 0; n < 3000 || made == 0 && time.Now().Before(end); n++ {
		l, err := stream(filepath.Join(dir, "socket"), true).Listen()
		if err == nil {
			made++
			l.Close()
			l.Remove()
		}
	}
	close(stop)
	attack.Wait()
	if made == 0 {
		t.Error("the socket was never made: nothing was tested")
	}
	if uid, gid, mode := owner(t, victim); uid != 0 || gid != 0 || mode.Perm() != 0o700 {
		t.Errorf("the directory is now %d:%d, %v", uid, gid, mode)
	}
	for _, name := range []string{"socket", "file"} {
		path := filepath.Join(victim, name)
		if uid, gid, mode := owner(t, path); uid != 0 || gid != 0 || mode != 0o600 {
			t.Errorf("%s is now %d:%d, %v", path, uid, gid, mode)
		}
	}
	if found, _ := os.ReadDir(victim); len(found) != 2 {
		t.Errorf("made elsewhere: %v", found)
	}
}

// as calls f in a thread with a user's rights over files.
func as(user *identity.User, f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		_ = unix.Setfsgid(int(user.GID))
		_ = unix.Setfsuid(int(user.UID))
		f()
	}()
	<-done
}

// TestUnprivileged: a service that is not root works in a directory of its own, and only there.
func TestUnprivileged(t *testing.T) {
	for _, test := range []struct{ dir, want string }{
		{place(t, serviceUID, 0o755), "made\n"},
		{place(t, 0, 0o755), "belongs to user 0 and has mode 0755: it must belong to this process's user"},
		{place(t, serviceUID, 0o775), "it must belong to this process's user, and nobody else may write to it"},
	} {
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = []string{socketVariable + "=" + filepath.Join(test.dir, "socket"), "GORACE=" +
			os.Getenv("GORACE")}
		who := &syscall.Credential{Uid: serviceUID, Gid: serviceGID}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: who}
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), test.want) {
			t.Errorf("%v\n%s\nwant %q", err, out, test.want)
		}
	}
}
