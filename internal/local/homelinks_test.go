package local

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A link on the way to the home's parent is followed where root has put it, and nowhere else.
func TestMakeHomeLinks(t *testing.T) {
	away := func(_, elsewhere string) string { return elsewhere }
	up := func(dir, _ string) string { return "../" + filepath.Base(dir) + "/real" }
	below := func(string, string) string { return "real" }
	loop := func(string, string) string { return "link" }
	for name, c := range map[string]struct {
		owner  int
		mode   os.FileMode
		target func(dir, elsewhere string) string
		home   string
		made   bool
	}{
		"root's, absolute":               {0, 0o755, away, "link/h", true},
		"root's, relative":               {0, 0o755, up, "link/h", true},
		"root's, and one more directory": {0, 0o755, away, "link/sub/h", true},
		"the account's":                  {1234, 0o755, away, "link/h", false},
		"the account's, to below":        {1234, 0o755, below, "link/h", false},
		"everybody's":                    {0, 0o777, away, "link/h", false},
		"everybody's, sticky":            {0, 0o777 | os.ModeSticky, away, "link/h", false},
		"a group's":                      {0, 0o775, away, "link/sub/h", false},
		"to itself":                      {0, 0o755, loop, "link/h", false},
	} {
		t.Run(name, func(t *testing.T) {
			dir, elsewhere := openDir(t), openDir(t)
			for _, sub := range []string{filepath.Join(dir, "real"), filepath.Join(elsewhere, "sub")} {
				must(t, os.Mkdir(sub, 0o755))
			}
			must(t, os.Symlink(c.target(dir, elsewhere), filepath.Join(dir, "link")))
			must(t, os.Chown(dir, c.owner, c.owner))
			must(t, os.Chmod(dir, c.mode))
			home := filepath.Join(dir, c.home)
			err := makeHome(home, t.TempDir(), 1234, 4321)
			if (err == nil) != c.made {
				t.Error(err)
			}
			if _, err := os.Stat(home); (err == nil) != c.made {
				t.Errorf("the home: %v", err)
			}
		})
	}
	err := makeHome("no-such/h", t.TempDir(), 1234, 4321)
	if err == nil || !strings.Contains(err.Error(), "not an absolute path") {
		t.Errorf("a home without a leading slash: %v", err)
	}
}
