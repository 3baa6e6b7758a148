package launch

import (
	"os"

	"golang.org/x/sys/unix"
)

// NoCore keeps this process's memory, where passwords are, out of core files and away from debuggers of the
// same user. The program that it becomes by exec is not concerned.
func NoCore() error {
	return os.NewSyscallError("prctl", unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0))
}
