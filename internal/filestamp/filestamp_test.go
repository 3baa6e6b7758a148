package filestamp

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"mailproxy/tests/testlog"
)

// TestOf: whatever is done to a file is seen, also when its time is put back.
func TestOf(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	old := time.Unix(1700000000, 0)
	write := func(name, text string) func() error {
		return func() error {
			return errors.Join(os.WriteFile(name, []byte(text), 0o600), os.Chtimes(name, old, old))
		}
	}
	before, err := Of(path)
	if !errors.Is(err, fs.ErrNotExist) || before != (Stamp{Err: err.Error()}) {
		t.Errorf("no file: %+v, %v", before, err)
	}
	for _, step := range []struct {
		what string
		do   func() error
	}{
		{"written", write(path, "one")},
		{"written again with the same time and size", func() (err error) {
			// Within one tick of the kernel's clock nothing tells two states of a file apart.
			was, _ := Of(path)
			testlog.Eventually(func() bool {
				err = write(path, "two")()
				now, _ := Of(path)
				return err != nil || now.Changed != was.Changed
			})
			return err
		}},
		{"another file with the same time and size", func() error {
			return errors.Join(write(path+".new", "six")(), os.Rename(path+".new", path))
		}},
		{"a link to it", func() error {
			return errors.Join(os.Rename(path, path+".1"), write(path+".2", "ten")(), os.Symlink(path+".2", path))
		}},
		{"another mode", func() error { return os.Chmod(path, 0o640) }},
		{"a directory", func() error { return errors.Join(os.Remove(path), os.Mkdir(path, 0o700)) }},
		{"gone", func() error { return os.Remove(path) }},
	} {
		if err := step.do(); err != nil {
			t.Fatalf("%s: %v", step.what, err)
		}
		now, err := Of(path)
		if now == before || (err == nil) == (step.what == "gone") || now.IsDir() != (step.what == "a directory") {
			t.Errorf("%s: %+v, before %+v, %v", step.what, now, before, err)
		}
		if again, _ := Of(path); again != now {
			t.Errorf("%s: %+v, then %+v", step.what, now, again)
		}
		before = now
	}
}
