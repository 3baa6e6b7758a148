package clock

import (
	"testing"
	"time"
)

// What passes is what passes, however the clock is set.
func TestClock(t *testing.T) {
	for name, step := range Steps() {
		var c Clock
		before := c.Now()
		c.Set(step)
		c.Pass(time.Minute)
		after := c.Now()
		if passed := after.Sub(before); passed != time.Minute {
			t.Errorf("%s: %v have passed", name, passed)
		}
		if went := after.Round(0).Sub(before.Round(0)) - step; went != time.Minute {
			t.Errorf("%s: the clock has gone %v", name, went)
		}
	}
}
