package measure

import (
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// timerSlack is TimerSlackNSec= of the units that the package installs.
const timerSlack = 1e6

// WithTimerSlack calls start; the programs that it starts have the timer slack that our units set.
func WithTimerSlack(t testing.TB, start func()) {
	t.Helper()
	// A process inherits the timer slack of the thread that starts it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_TIMERSLACK, timerSlack, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	defer unix.Prctl(unix.PR_SET_TIMERSLACK, 0, 0, 0, 0) // its own again
	start()
}

// TreeCPU is CPU for processes and everything below them, whether it has ended or not. Processes that have
// lost their parent are not below them.
func TreeCPU(t testing.TB, pids ...int) (sum time.Duration) {
	t.Helper()
	for _, pid := range pids {
		used, err := tree(t, pid)
		for tries := 0; err != nil; tries++ { // one has ended meanwhile
			if tries == 10 {
				t.Fatal(err)
			}
			used, err = tree(t, pid)
		}
		sum += used
	}
	return sum
}

func tree(t testing.TB, pid int) (time.Duration, error) {
	sum, err := cpu(pid)
	for _, child := range Children(t, pid) {
		used, cerr := tree(t, child)
		if cerr != nil {
			return 0, cerr
		}
		sum += used
	}
	return sum, err
}
