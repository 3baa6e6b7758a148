package local

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// sigaction is rt_sigaction(2)'s struct sigaction with room to spare. Its first word is the handler; what
// follows differs between architectures, and is all zero or just as the kernel gave it.
type sigaction [8]uintptr

// The handlers that are no functions, and the signals there are: 32 and 33, the C library's own, are among
// them.
const (
	sigDefault = 0
	sigIgnore  = 1
	lastSignal = 64
)

// setSignal sets a signal's action unless that is nil, and returns what it was. It goes past the runtime,
// which refuses some signals and keeps watch over the others.
func setSignal(signal uintptr, action *sigaction) (old sigaction, err error) {
	const setSize = lastSignal / 8
	_, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION, signal,
		uintptr(unsafe.Pointer(action)), uintptr(unsafe.Pointer(&old)), setSize, 0, 0)
	if errno != 0 {
		return old, os.NewSyscallError("rt_sigaction", errno)
	}
	return old, nil
}

// defaultSignals has the program to come start with every signal at its default: exec resets a signal that
// is caught, but keeps one that is ignored ignored: as nohup leaves SIGHUP, and make 32. restore gives this
// process back what it ignored.
func defaultSignals() (restore func(), err error) {
	var ignored []uintptr
	for signal := uintptr(1); signal <= lastSignal; signal++ {
		old, err := setSignal(signal, nil)
		if err != nil {
			return nil, err
		}
		if old[0] == sigIgnore {
			ignored = append(ignored, signal)
		}
	}
	set := func(handler uintptr) (err error) {
		for _, signal := range ignored {
			if _, failed := setSignal(signal, &sigaction{handler}); failed != nil {
				err = failed
			}
		}
		return err
	}
	return func() { _ = set(sigIgnore) }, set(sigDefault)
}
