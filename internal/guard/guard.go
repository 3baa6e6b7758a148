// Package guard keeps a panic in the code for one connection from ending a program that serves many: the code
// recovers, and the stack is logged.
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
