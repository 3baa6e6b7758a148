package mailhost

import (
	"errors"
	"testing"
	"time"

	"mailproxy/tests/clock"
)

// down is a Health with a clock that is set, at which here is down since now, and one login has failed there.
func down(t *testing.T, c *clock.Clock, told *[]time.Duration) *Health {
	t.Helper()
	h := steppedHealth(c, told)
	for range failuresUntilDown {
		enter(t, h, here).failed(errRefused)
	}
	enter(t, h, there).failed(errRefused)
	return h
}

// steppedHealth notes for how long a mailhost was down that comes back.
func steppedHealth(c *clock.Clock, told *[]time.Duration) *Health {
	return NewHealth(10, 10*time.Second, c.Now, Events{
		Up: func(_ Mailhost, since time.Duration, _ int) { *told = append(*told, since) },
	})
}

func wantDown(t *testing.T, h *Health, when string) {
	t.Helper()
	if _, err := h.acquire(t.Context(), "mail1", here); !errors.Is(err, ErrDown) {
		t.Errorf("%s: %v, want %v", when, err, ErrDown)
	}
}

// TestHealthClockSteps: a mailhost that is down is tried when the time has passed, however the clock is set
// meanwhile.
func TestHealthClockSteps(t *testing.T) {
	for name, step := range clock.Steps() {
		t.Run(name, func(t *testing.T) {
			var c clock.Clock
			var told []time.Duration
			h := down(t, &c, &told)
			c.Set(step)
			wantDown(t, h, "at once")
			c.Pass(9 * time.Second)
			wantDown(t, h, "before it is time")
			c.Pass(2 * time.Second)
			c.Set(-2 * step)
			enter(t, h, here).answered()
			if len(told) != 1 || told[0] != 11*time.Second {
				t.Errorf("it was down for %v, want 11s", told)
			}
		})
	}
}

// TestHealthInherited: the next process knows which mailhosts are down and since when, how many logins were
// turned away, and when it is time to try, however the clock is set meanwhile.
func TestHealthInherited(t *testing.T) {
	for name, step := range clock.Steps() {
		t.Run(name, func(t *testing.T) {
			var c clock.Clock
			var told []time.Duration
			before := down(t, &c, &told)
			wantDown(t, before, "in the old process")
			c.Pass(4 * time.Second)
			data, err := before.MarshalBinary()
			if err != nil {
				t.Fatal(err)
			}
			c.Set(step)
			h := steppedHealth(&c, &told)
			if err := h.UnmarshalBinary(data); err != nil {
				t.Fatal(err)
			}
			if s := h.States(); len(s) != 2 || !s[0].Down || s[0].Turned != 1 || s[1].Down {
				t.Errorf("states %+v", s)
			}
			c.Pass(5 * time.Second)
			wantDown(t, h, "before it is time")
			c.Pass(2 * time.Second)
			trial := enter(t, h, here)
			wantDown(t, h, "beside the one that tries")
			trial.answered()
			if len(told) != 1 || told[0] != 11*time.Second {
				t.Errorf("it was down for %v, want 11s", told)
			}
			for range failuresUntilDown - 1 { // the first one was in the old process
				enter(t, h, there).failed(errRefused)
			}
			if _, err := h.acquire(t.Context(), "mail1", there); !errors.Is(err, ErrDown) {
				t.Errorf("the third failure in a row: %v", err)
			}
		})
	}
}

// Nothing that is not understood is learned, nor half of it.
func TestHealthInheritsNonsense(t *testing.T) {
	good := `{"host":"a","addr":"127.0.0.2:143","failures":3,"used":1,"down":1}`
	for _, data := range []string{
		"", "x", "{}", "[{}]", `[` + good + `,{"host":"b","addr":"127.0.0.3:143"}]`,
		`[` + good + `,{"host":"b","addr":"","failures":3}]`,
		`[{"host":"b","addr":"127.0.0.3:143","failures":1,"down":-1}]`,
	} {
		h, _ := newHealth(10)
		if h.UnmarshalBinary([]byte(data)) == nil {
			t.Errorf("%s is taken", data)
		}
		if s := h.States(); len(s) != 0 {
			t.Errorf("%s: states %+v", data, s)
		}
	}
}
