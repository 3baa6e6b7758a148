package launch

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mailproxy/tests/harness"
)

// In the programs as they are shipped the runtime's own threads are in no hurry (package entry), and the main thread, which local
// servers inherit that from, has the slack that the launcher gave.
func TestSlack(t *testing.T) {
	const (
		launchers = "50000"   // ns, the system's default
		runtimes  = "1000000" // ns
	)
	for _, s := range sides {
		for _, name := range []string{s.program} {
			pid := greeting(t, nil, harness.PlainBin(t, name), s.server, "Maildir")
			tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid))
			if err != nil {
				t.Fatal(err)
			}
			found := map[string]int{}
			for _, task := range tasks {
				thread := filepath.Base(task)
				text, err := os.ReadFile(filepath.Join("/proc", thread, "timerslack_ns"))
				if err != nil {
					t.Fatal(err)
				}
				slack := strings.TrimSpace(string(text))
				found[slack]++
				if (thread == fmt.Sprint(pid)) != (slack == launchers) {
					t.Errorf("%s: thread %s of process %d has a slack of %s ns", name, thread, pid, slack)
				}
			}
			if found[launchers] != 1 || found[runtimes] == 0 {
				t.Errorf("%s: threads by their slack in ns: %v", name, found)
			}
		}
	}
}
