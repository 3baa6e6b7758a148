package engine

import (
	"fmt"
	"runtime/debug"
)

// recovered is deferred by everything that runs for one session: a panic is logged with its stack, and then called. Nobody
// else notices.
func recovered(log func(string), then func()) {
	if v := recover(); v != nil {
		log(fmt.Sprintf("ERR: panic in a session, which ends: %v\n%s", v, debug.Stack()))
		then()
	}
}
