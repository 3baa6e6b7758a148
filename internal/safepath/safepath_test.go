package safepath

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// tree makes a directory that every user can enter, with these files: a name that ends in "/" is a directory,
// NAME>TARGET a link, and a name that ends in "|" a pipe. ROOT in a target is the directory itself.
func tree(t *testing.T, files ...string) string {
	t.Helper()
	root, err := os.MkdirTemp("/var/tmp", "safepath-test-")
	if err == nil {
		t.Cleanup(func() { os.RemoveAll(root) })
		err = os.Chmod(root, 0o755)
	}
	for _, file := range files {
		if err != nil {
			break
		}
		name, target, link := strings.Cut(file, ">")
		path := filepath.Join(root, strings.TrimSuffix(name, "|"))
		switch {
		case link:
			err = os.Symlink(strings.ReplaceAll(target, "ROOT", root), path)
		case strings.HasSuffix(name, "/"):
			err = os.MkdirAll(path, 0o755)
		case strings.HasSuffix(name, "|"):
			err = unix.Mkfifo(path, 0o644)
		default:
			err = os.WriteFile(path, nil, 0o644)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// is says whether f is what is at a path.
func is(t *testing.T, f *File, path string) bool {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		t.Fatal(err)
	}
	return st.Dev == f.Stat.Dev && st.Ino == f.Stat.Ino
}

// TestOpenParent: which directory a path leads to, whatever its last name is.
func TestOpenParent(t *testing.T) {
	files := []string{
		"a/b/", "c/", "file", "pipe|",
		"a/absolute>ROOT/c", "relative>a/b", "up>a/../c", "a/far>../../../../../ROOT/c",
		"dot>.", "twice>relative/../absolute", "dangling>none", "self>self", "one>other", "other>one", "a/root>/",
		"to file>file", "slashes>//ROOT///a//b/", "outer/inner/", "in>outer/inner", "around>in/../inner",
	}
	root := tree(t, files...)
	links := make([]string, maxLinks+1) // the last one has one link too many on its way
	for i := range links {
		links[i] = fmt.Sprintf("%d", i)
		target := root
		if i > 0 {
			target = filepath.Join(root, links[i-1])
		}
		if err := os.Symlink(target, filepath.Join(root, links[i])); err != nil {
			t.Fatal(err)
		}
	}
	for path, want := range map[string]string{
		"a/b/x": "a/b", "a/b": "a", "a/b/": "a", "a/./b/../b/x": "a/b", "a": "", "none": "", "//a//b//x": "a/b",
		"a/absolute/x": "c", "relative/x": "a/b", "up/x": "c", "dot/a/x": "a", "twice/x": "c", "a/far/x": "c",
		"slashes/x": "a/b", "around/x": "outer/inner", "a/root/var/x": "/var", "a/root/x": "/",
		links[maxLinks-1] + "/x": "",
		// The last name is not looked at.
		"a/absolute": "a", "dangling": "", "self": "", "file": "", "pipe": "",
		"file/x": "error", "to file/x": "error", "pipe/x": "error", "none/x": "error", "dangling/x": "error",
		"self/x": "error", "one/x": "error", "a/b/none/x": "error", links[maxLinks] + "/x": "error",
	} {
		dir, name, err := OpenParent(root + "/" + path)
		if err != nil {
			if want != "error" || !strings.Contains(err.Error(), root) {
				t.Errorf("%s: %v", path, err)
			}
			continue
		}
		if want == "error" {
			t.Errorf("%s: leads to %s", path, dir.Path)
			dir.Close()
			continue
		}
		if !strings.HasPrefix(want, "/") {
			want = filepath.Join(root, want)
		}
		if name != filepath.Base(path) || dir.Path != want || !is(t, dir, want) || dir.Kind() != unix.S_IFDIR {
			t.Errorf("%s: leads to %s and %s, want %s", path, dir.Path, name, want)
		}
		dir.Close()
	}
	for _, path := range []string{"", "a/b", "./a", "../a"} {
		if _, _, err := OpenParent(path); err == nil || !strings.Contains(err.Error(), "not an absolute path") {
			t.Errorf("%q: %v", path, err)
		}
	}
	for _, path := range []string{"/", "//", "/..", "/."} {
		dir, name, err := OpenParent(path)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		f, err := dir.OpenAt(name)
		if err != nil || !is(t, f, "/") || f.Path != "/" {
			t.Errorf("%s: %v, %v", path, f, err)
		}
		f.Close()
		dir.Close()
	}
}

// TestLinks: a link is followed where nobody but root and this process's user can put one, and nowhere else.
func TestLinks(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("this test needs root")
	}
	for _, test := range []struct {
		owner    int
		mode     os.FileMode
		followed bool
	}{
		{0, 0o755, true},
		{0, 0o700, true},
		{0, 0o755 | os.ModeSticky, true},
		{1234, 0o755, false},
		{1234, 0o700, false},
		{0, 0o775, false},
		{0, 0o757, false},
		{0, 0o777, false},
		{0, 0o777 | os.ModeSticky, false},
	} {
		for _, target := range []string{"real", "../dir/real", "ROOT/elsewhere", "ROOT"} {
			root := tree(t, "dir/real/", "elsewhere/", "dir/link>"+target)
			dir := filepath.Join(root, "dir")
			if err := os.Chown(dir, test.owner, test.owner); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(dir, test.mode); err != nil {
				t.Fatal(err)
			}
			// A link within what is reached by root's own link is looked at no less.
			for _, path := range []string{dir + "/link/x", tree(t, "safe>"+dir+"/link") + "/safe/x"} {
				got, _, err := OpenParent(path)
				if (err == nil) != test.followed {
					t.Errorf("%d's, %v: %s, a link to %s: %v", test.owner, test.mode, path, target, err)
				}
				if err == nil {
					got.Close()
				}
			}
			// What is no link is not bound to that.
			got, _, err := OpenParent(dir + "/real/x")
			if err != nil {
				t.Errorf("%d's, %v: %v", test.owner, test.mode, err)
				continue
			}
			got.Close()
		}
	}
}

// TestOpenAt: every kind of file is opened as itself, links too.
func TestOpenAt(t *testing.T) {
	root := tree(t, "dir/", "file", "link>dir", "pipe|")
	dir, _, err := OpenParent(root + "/x")
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	for name, kind := range map[string]uint32{
		"dir": unix.S_IFDIR, "file": unix.S_IFREG, "link": unix.S_IFLNK, "pipe": unix.S_IFIFO,
	} {
		f, err := dir.OpenAt(name)
		if err != nil {
			t.Fatal(err)
		}
		if f.Kind() != kind || f.Path != filepath.Join(root, name) || !is(t, f, f.Path) {
			t.Errorf("%s: %s of kind %o", name, f.Path, f.Kind())
		}
		f.Close()
	}
	if _, err := dir.OpenAt("none"); !os.IsNotExist(err) || !strings.Contains(err.Error(), root+"/none") {
		t.Error(err)
	}
}
