// Package testprocess asks the kernel about processes.
package testprocess

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Stopped says whether every thread of a process stands still after SIGSTOP. The signal takes its time on a
// crowded machine, and threads that run go on until then.
func Stopped(pid int) bool {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	if err != nil {
		return false
	}
	for _, path := range threads {
		text, err := os.ReadFile(path)
		if _, state, _ := strings.Cut(string(text), ") "); err == nil && !strings.HasPrefix(state, "T") {
			return false
		}
	}
	return true
}

// OpenFiles counts the file descriptors of this process.
func OpenFiles(t testing.TB) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}
