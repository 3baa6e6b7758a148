// Package guard keeps a fault in what serves one connection from ending the program that serves all: what
// runs for a connection recovers from a panic, and the log has the stack.
package guard

import (
	"fmt"
	"runtime/debug"
)

// Go runs f, which serves what is called what in the log, in a goroutine of its own.
func Go(log func(line string), what string, f func()) {
	go func() {
		defer Recover(log, what, nil)
		f()
	}()
}

// Recover is to be deferred. After a panic it writes one line and the stack, and calls then, if that is not
// nil.
func Recover(log func(line string), what string, then func()) {
	v := recover()
	if v == nil {
		return
	}
	log(fmt.Sprintf("ERR: panic in %s, which ends: %v\n%s", what, v, debug.Stack()))
	if then != nil {
		then()
	}
}
