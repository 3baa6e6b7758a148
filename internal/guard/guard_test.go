package guard

import (
	"strings"
	"testing"
)

// TestGo: a panic is one line, its stack, and the end of nothing but the goroutine.
func TestGo(t *testing.T) {
	lines := make(chan string, 1)
	Go(func(line string) { lines <- line }, "a conversation", func() { panic("of a test") })
	if got := <-lines; !strings.HasPrefix(got,
		"ERR: panic in a conversation, which ends: of a test\ngoroutine ") ||
		!strings.Contains(got, "guard_test.go") {
		t.Error(got)
	}
}

// TestRecover: what is to be done after a panic is done after a panic only.
func TestRecover(t *testing.T) {
	for _, fault := range []bool{false, true} {
		then := false
		func() {
			defer Recover(func(string) {}, "a test", func() { then = true })
			if fault {
				panic("of a test")
			}
		}()
		if then != fault {
			t.Errorf("panic %v, then %v", fault, then)
		}
	}
}
