package local

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

func TestMakeHome(t *testing.T) {
	skeleton, parent := t.TempDir(), openDir(t)
	must(t, os.Chmod(skeleton, 0o711))
	must(t, os.MkdirAll(filepath.Join(skeleton, "Maildir", "cur"), 0o700))
	must(t, os.WriteFile(filepath.Join(skeleton, "a"), []byte("text"), 0o640))
	must(t, os.WriteFile(filepath.Join(skeleton, "set-id"), nil, 0o600))
	must(t, os.Chmod(filepath.Join(skeleton, "set-id"), 0o750|os.ModeSetgid))
	must(t, os.Symlink("/etc/passwd", filepath.Join(skeleton, "link")))
	home := filepath.Join(parent, "new")
	got, log := become(t, "exec", "1234", "4321", "", home, skeleton, "", "blocking")
	if want := wantReport("uid=1234 gid=4321 groups=4321", home, blocking, "unlimited"); !slices.Equal(got,
		want) {
		t.Errorf("got  %q\nwant %q\nlog %s", got, want, log)
	}
	for name, mode := range map[string]os.FileMode{
		".": os.ModeDir | 0o711, "Maildir": os.ModeDir | 0o700, "Maildir/cur": os.ModeDir | 0o700, "a": 0o640,
		"set-id": os.ModeSetgid | 0o750, "link": os.ModeSymlink | 0o777,
	} {
		info, err := os.Lstat(filepath.Join(home, name))
		if err != nil {
			t.Fatal(err)
		}
		var st unix.Stat_t
		must(t, unix.Lstat(filepath.Join(home, name), &st))
		if info.Mode() != mode || st.Uid != 1234 || st.Gid != 4321 {
			t.Errorf("%s: %v %d:%d, want %v 1234:4321", name, info.Mode(), st.Uid, st.Gid, mode)
		}
	}
	var passwd unix.Stat_t
	must(t, unix.Stat("/etc/passwd", &passwd))
	if passwd.Uid != 0 {
		t.Error("the link's target has a new owner")
	}
	must(t, os.WriteFile(filepath.Join(home, "mine"), nil, 0o600))
	must(t, makeHome(home, skeleton, 1, 1))
	if _, err := os.Stat(filepath.Join(home, "mine")); err != nil {
		t.Error("an existing home was replaced")
	}
	must(t, unix.Mkfifo(filepath.Join(skeleton, "pipe"), 0o600))
	if err := makeHome(filepath.Join(parent, "bad"), skeleton, 1234, 4321); err == nil {
		t.Error("a pipe in the skeleton was copied")
	}
	entries, err := os.ReadDir(parent)
	if err != nil || len(entries) != 1 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

// The parent's owner swaps the half-made home for a link to somewhere else, again and again: nothing
// appears there, and nothing there changes its owner.
func TestMakeHomeRace(t *testing.T) {
	skeleton, parent, target := t.TempDir(), openDir(t), openDir(t)
	for i := range 50 {
		must(t, os.WriteFile(filepath.Join(skeleton, strconv.Itoa(i)), nil, 0o600))
	}
	// What an attacker has prepared: a file of root's under the name that a file of the skeleton gets.
	must(t, os.Mkdir(filepath.Join(target, "home"), 0o755))
	must(t, os.WriteFile(filepath.Join(target, "home", "25"), nil, 0o600))
	stop, stopped := make(chan bool), make(chan bool)
	var swaps atomic.Int64
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
			}
			found, _ := filepath.Glob(filepath.Join(parent, ".h*.new-*"))
			for _, work := range found {
				if os.Rename(work, work+"-away") == nil && os.Symlink(target, work) == nil {
					swaps.Add(1)
				}
			}
		}
	}()
	for i := 0; i < 200 && swaps.Load() < 30; i++ {
		_ = makeHome(filepath.Join(parent, "h"+strconv.Itoa(i)), skeleton, 1234, 4321)
	}
	close(stop)
	if <-stopped; swaps.Load() == 0 {
		t.Fatal("nothing was swapped, which proves nothing")
	}
	err := filepath.WalkDir(target, func(path string, _ os.DirEntry, err error) error {
		must(t, err)
		var st unix.Stat_t
		must(t, unix.Lstat(path, &st))
		if st.Uid != 0 {
			t.Errorf("%s has the owner %d", path, st.Uid)
		}
		return nil
	})
	must(t, err)
	if entries, err := os.ReadDir(filepath.Join(target, "home")); err != nil || len(entries) != 1 {
		t.Errorf("in the link's target: %v, %v", entries, err)
	}
}
