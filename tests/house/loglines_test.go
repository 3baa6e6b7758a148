package house

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestLogLines: every log line that docs/operating.md explains is one that a program writes: what is between
// its values is in the source.
func TestLogLines(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(root, "docs/operating.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(page), "\n## A line of the log\n")
	section, _, found := strings.Cut(section, "\n## ")
	if !found {
		t.Fatal("docs/operating.md has no section about lines of the log, or nothing behind it")
	}
	source := programs(t)
	values := regexp.MustCompile(`\b(MODULE|SETTING|FILE|LINE|VALUE|USER|HOST|ADDRESS|PATH|HOME|SERVER|REASON|` +
		`MECHANISM|N)\b|\.\.\.|^[A-Z]+: `)
	explained := 0
	for _, item := range strings.Split(section, "\n- ")[1:] {
		lines, _, _ := strings.Cut(strings.Join(strings.Fields(item), " "), "`: ")
		for i, line := range strings.Split(lines, "`") {
			if i%2 == 0 { // between two lines
				continue
			}
			explained++
			for _, part := range values.Split(line, -1) {
				part = strings.Trim(part, " ,:=\"")
				if len(part) > 4 && !bytes.Contains(source, []byte(part)) {
					t.Errorf("docs/operating.md explains %q, and no program writes %q", line, part)
				}
			}
		}
	}
	if explained < 20 {
		t.Errorf("%d lines are explained", explained)
	}
}

// TestLoginEvents: the log lines of package login are in its files whose names end in events.go.
func TestLoginEvents(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(root, "internal/login/*.go"))
	if err != nil {
		t.Fatal(err)
	}
	writes := regexp.MustCompile(`\.(Debug|Info|Notice|Warn|Err|Crit)f\(`)
	lines := 0
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		found := len(writes.FindAll(source, -1))
		lines += found
		if found > 0 && !strings.HasSuffix(file, "events.go") {
			t.Errorf("%s writes %d log lines", file, found)
		}
	}
	if lines < 20 {
		t.Errorf("package login writes %d log lines", lines)
	}
}

// programs is the source of the programs.
func programs(t *testing.T) []byte {
	var all []byte
	for _, room := range []string{"internal", "relay", "authlib", "imapd-proxy", "pop3d-proxy"} {
		err := filepath.WalkDir(filepath.Join(root, room), func(path string, _ os.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			text, err := os.ReadFile(path)
			all = append(all, text...)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return all
}
