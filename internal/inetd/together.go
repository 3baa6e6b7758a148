package inetd

import (
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// together runs fn, which makes system calls in every thread of the process (syscall.AllThreadsSyscall), while all threads
// belong to the calling one's processor. Such a call wakes up one thread after the other, and burns time until the last has
// answered: much of it when a thread is woken up on a processor that sleeps, next to none when it only has its turn here. Where
// threads can not be moved fn takes its time. (No thread is locked for this: runtime.LockOSThread would start one more.)
func together(fn func() error) error {
	var everywhere, here unix.CPUSet
	var cpu uint32
	if _, _, errno := unix.RawSyscall(unix.SYS_GETCPU, uintptr(unsafe.Pointer(&cpu)), 0, 0); errno != 0 {
		return fn()
	}
	here.Set(int(cpu))
	threads := threads()
	if len(threads) == 0 || unix.SchedGetaffinity(0, &everywhere) != nil {
		return fn()
	}
	bind := func(set *unix.CPUSet) {
		for _, thread := range threads {
			_ = unix.SchedSetaffinity(thread, set)
		}
	}
	bind(&here)
	defer bind(&everywhere)
	return fn()
}

// threads returns this process's threads; none where /proc does not tell.
func threads() []int {
	fd, err := unix.Open("/proc/self/task", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	defer unix.Close(fd)
	var block [1024]byte
	var names []string
	for {
		n, err := unix.Getdents(fd, block[:])
		if err != nil || n <= 0 {
			break
		}
		_, _, names = unix.ParseDirent(block[:n], -1, names)
	}
	all := make([]int, 0, len(names))
	for _, name := range names {
		if thread, err := strconv.Atoi(name); err == nil {
			all = append(all, thread)
		}
	}
	return all
}
