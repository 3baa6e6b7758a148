package house

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"
)

const (
	maxLines   = 400 // of a file that is not a test
	maxColumns = 110 // characters of a line
)

// goFiles calls visit for each Go file with its path below the root.
func goFiles(t *testing.T, visit func(path, text string)) {
	t.Helper()
	n := 0
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != root && (d.Name()[0] == '.' || d.Name() == "testdata" || d.Name() == "dist"):
			return filepath.SkipDir
		case !strings.HasSuffix(path, ".go"):
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		n++
		visit(name, string(text))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if n < 100 {
		t.Fatalf("only %d Go files", n)
	}
}

func TestFileLengths(t *testing.T) {
	goFiles(t, func(path, text string) {
		if n := strings.Count(text, "\n"); n > maxLines && !strings.HasSuffix(path, "_test.go") {
			t.Errorf("%s has %d lines, more than %d", path, n, maxLines)
		}
	})
}

func TestLineLengths(t *testing.T) {
	goFiles(t, func(path, text string) {
		n := 0
		for line := range strings.Lines(text) {
			n++
			if c := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); c > maxColumns {
				t.Errorf("%s:%d has %d columns, more than %d", path, n, c, maxColumns)
			}
		}
	})
}
