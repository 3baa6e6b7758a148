package testprocess_test

import (
	"os/exec"
	"syscall"
	"testing"

	"mailproxy/tests/testlog"
	"mailproxy/tests/testprocess"
)

func TestStopped(t *testing.T) {
	cmd := exec.Command("sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Wait() }()
	defer func() { _ = cmd.Process.Kill() }()
	for signal, want := range map[syscall.Signal]bool{syscall.SIGSTOP: true, syscall.SIGCONT: false} {
		if err := cmd.Process.Signal(signal); err != nil {
			t.Fatal(err)
		}
		if !testlog.Eventually(func() bool { return testprocess.Stopped(cmd.Process.Pid) == want }) {
			t.Errorf("after %v: stopped is not %v", signal, want)
		}
	}
}
