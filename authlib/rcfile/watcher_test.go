package rcfile

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestWatcher(t *testing.T) { synctest.Test(t, testWatcher) }

func testWatcher(t *testing.T) {
	path := filepath.Join(t.TempDir(), "authrc")
	clock := time.Now()
	write := func(text string, mode os.FileMode) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		clock = clock.Add(time.Second)
		if err := os.Chtimes(path, clock, clock); err != nil {
			t.Fatal(err)
		}
	}
	var log, dropped []string
	w := Watch(path, []string{"A", "MYSQL_SERVER"}, func(s *Settings) (string, error) {
		if s.Get("A") == "" {
			return "", errors.New("A is not set")
		}
		return s.Get("A"), nil
	}, func(old string) { dropped = append(dropped, old) }, func(format string, args ...any) {
		log = append(log, strings.ReplaceAll(fmt.Sprintf(format, args...), path, "FILE"))
	})
	step := func(want, wantErr, wantLog string) {
		t.Helper()
		time.Sleep(pause)
		for range 2 { // a second request logs nothing more
			got, release, err := w.Use()
			if err == nil {
				release()
			}
			if got != want || (err == nil) != (wantErr == "") || err != nil &&
				!strings.Contains(err.Error(), wantErr) {
				t.Errorf("Use = %q, %v; want %q, %q", got, err, want, wantErr)
			}
		}
		if got := strings.Join(log, "\n"); got != wantLog {
			t.Errorf("log: %q, want %q", got, wantLog)
		}
		log = nil
	}
	step("", "no such file", "open FILE: no such file or directory")
	write("A 1\n"+end, 0o644)
	step("", "everybody", "FILE: everybody may read this file and it holds a password: chmod o= it")
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	step("1", "", "")
	write("A 2\n"+end, 0o600)
	step("2", "", "")
	write("A 3\n", 0o600)
	step("2", "", `FILE: no line begins with "##NAME: MARKER:": the file is cut short or was not upgraded; `+
		`the settings read before stay in force`)
	write("B 3\n"+end, 0o600)
	step("2", "", "FILE: A is not set; the settings read before stay in force")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	step("2", "", "open FILE: no such file or directory; the settings read before stay in force")
	write("A 3\n"+end, 0o600)
	step("3", "", "")
	// Another file of that size and time, as rsync -t and cp -p make it.
	if err := os.Rename(path, path+".old"); err != nil {
		t.Fatal(err)
	}
	clock = clock.Add(-time.Second)
	write("A 5\n"+end, 0o600)
	step("5", "", "")
	write("A 4\n"+end, 0o600)
	_, release, err := w.Use() // is not dropped while it is in use
	if err != nil {
		t.Fatal(err)
	}
	step("4", "", "")
	if got := strings.Join(dropped, " "); got != "1 2 3" {
		t.Errorf("dropped %q, want 1 2 3", got)
	}
	release()
	w.Close()
	w.Close()
	step("", os.ErrClosed.Error(), "")
	if got := strings.Join(dropped, " "); got != "1 2 3 5 4" {
		t.Errorf("dropped %q, want 1 2 3 5 4", got)
	}
}
