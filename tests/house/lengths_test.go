package house

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

const (
	maxLines   = 400 // of a file that is not a test
	maxColumns = 110 // characters of a line
)

// longLines is how many longer lines a part of the tree may still have. Only smaller numbers may be written
// here; a part without a number has none.
var longLines = map[string]int{
	"imapd-proxy": 11,
	"internal":    12,
	"pop3d-proxy": 2,
	"tests":       84,
}

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
	count := map[string]int{}
	worst := map[string][]string{}
	goFiles(t, func(path, text string) {
		part, _, _ := strings.Cut(path, string(filepath.Separator))
		before := count[part]
		for line := range strings.Lines(text) {
			if utf8.RuneCountInString(strings.TrimSuffix(line, "\n")) > maxColumns {
				count[part]++
			}
		}
		if count[part] > before && !slices.Contains(worst[part], path) {
			worst[part] = append(worst[part], path)
		}
	})
	for part, n := range count {
		switch limit := longLines[part]; {
		case n > limit:
			t.Errorf("%s has %d lines of more than %d columns, %d are allowed; they are in %s",
				part, n, maxColumns, limit, strings.Join(worst[part], " "))
		case n < limit:
			t.Logf(
				"%s has %d lines of more than %d columns now: write that in the place of %d",
				part,
				n,
				maxColumns,
				limit,
			)
		}
	}
}
