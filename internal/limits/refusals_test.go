package limits

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// The first is told at once, those after it once a minute, and then nothing until the next one.
func TestRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []int
		last := ""
		r := NewRefusals(func(n int, who string) { told, last = append(told, n), who })
		expect := func(want ...int) {
			t.Helper()
			synctest.Wait()
			r.mu.Lock()
			defer r.mu.Unlock()
			if !slices.Equal(told, want) {
				t.Fatalf("told of %v, want %v", told, want)
			}
		}
		r.Refused("a")
		expect(1)
		for range 500 {
			r.Refused("b")
		}
		expect(1)
		time.Sleep(every - time.Second)
		r.Refused("c")
		expect(1)
		time.Sleep(time.Second)
		expect(1, 501)
		time.Sleep(10 * every)
		expect(1, 501)
		if last != "c" {
			t.Errorf("the last was %q", last)
		}
		r.Refused("d")
		expect(1, 501, 1)
		time.Sleep(2 * every) // nothing is left running
	})
}
