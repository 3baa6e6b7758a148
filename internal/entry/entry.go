// Package entry is where the front ends and relayd begin, in front of Go's runtime, which they link with the linker's option
//
//	-E mailproxy/internal/entry.begin
//
// on linux/amd64 and linux/arm64. Programs that are linked without it work as well, for a little more time.
//
// There the thread that watches over the scheduler (sysmon) is given a timer slack, so that it looks every millisecond instead of
// every 20 µs. It takes the processor away from goroutines that wait in system calls or run for too long. A program that holds one
// connection has one goroutine and nobody to give the processor to, but in the few milliseconds that most logins last that thread
// wakes up two dozen times: a seventh of a login's processor time on the machine of docs/performance.md. In relayd, whose threads
// are woken up for a moment by each login and each line, it is the same.
//
// A thread's slack is that of the thread that starts it, and nobody else may change it without special rights. Linking this package
// gives the main thread, which waits for connections and becomes the local server, its own slack back.
package entry

import "golang.org/x/sys/unix"

// init runs in the main thread, from which the programs that are executed or started have their own slack. 0 is what it was
// started with. The call can fail only where nothing was changed.
func init() { _ = unix.Prctl(unix.PR_SET_TIMERSLACK, 0, 0, 0, 0) }
