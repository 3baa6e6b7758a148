package metrics

import (
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"mailproxy/tests/metricstest"
)

// TestDescriptors: a file that is opened counts, and the limit is the process's.
func TestDescriptors(t *testing.T) {
	count := func() map[string]float64 {
		var out strings.Builder
		WriteDescriptors(&out)
		return metricstest.Lint(t, out.String())
	}
	before := count()
	for range 10 {
		f, err := os.Open("/dev/null")
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	after := count()
	if n := after["process_open_fds"] - before["process_open_fds"]; n < 10 || n > 20 {
		t.Errorf("10 more files are %v", n)
	}
	if n := after["process_max_fds"]; n != float64(limit.Cur) {
		t.Errorf("limit %v, not %d", n, limit.Cur)
	}
}
