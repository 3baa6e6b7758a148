package systemd

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func TestStderr(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	st := info.Sys().(*syscall.Stat_t)
	const text = "INFO: relayd: ready\nWARN: full\nCRIT: x\nERR: x\nNOTICE: x\nDEBUG: relayd: x\n" +
		"relayd: no such file\nINFO: LOGOUT, user=INFO: \n"
	const journal = "<6>ready\n<4>full\n<2>x\n<3>x\n<5>x\n<7>x\n<3>no such file\n<6>LOGOUT, user=INFO: \n"
	for stream, want := range map[string]string{
		"":                                     text,
		"1:1":                                  text,
		fmt.Sprintf("%d:%d", st.Dev, st.Ino):   journal,
		fmt.Sprintf("%d:%d", st.Dev, st.Ino+1): text,
	} {
		if err := f.Truncate(0); err != nil {
			t.Fatal(err)
		}
		if _, err := f.Seek(0, 0); err != nil {
			t.Fatal(err)
		}
		w := Stderr(f, "relayd", func(name string) string {
			return map[string]string{"JOURNAL_STREAM": stream}[name]
		})
		if n, err := w.Write([]byte(text)); n != len(text) || err != nil {
			t.Errorf("JOURNAL_STREAM=%q: wrote %d of %d, %v", stream, n, len(text), err)
		}
		got, err := os.ReadFile(path)
		if err != nil || string(got) != want {
			t.Errorf("JOURNAL_STREAM=%q: %q, want %q (%v)", stream, got, want, err)
		}
	}
}
