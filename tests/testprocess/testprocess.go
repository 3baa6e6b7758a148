// Package testprocess asks the kernel about processes.
package testprocess

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
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
