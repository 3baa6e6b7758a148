package loglimit

import (
	"fmt"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"
)

// TestDue: a line is due once in the time that passes, whatever others are, and however the clock is set.
func TestDue(t *testing.T) {
	var l Limit
	now := time.Unix(1e9, 0)
	for i, test := range []struct {
		after time.Duration
		line  string
		due   bool
	}{
		{0, "a", true}, {0, "a", false}, {0, "b", true}, {59 * time.Second, "a", false},
		{time.Second, "a", true}, {time.Second, "a", false}, {0, "b", true},
		{-30 * time.Second, "a", false}, {-time.Hour, "a", true}, {0, "a", false}, {2 * time.Hour, "a", true},
	} {
		now = now.Add(test.after)
		if due := l.Due(test.line, time.Minute, now); due != test.due {
			t.Errorf("%d: %q after %v: %v", i, test.line, test.after, due)
		}
	}
}

// TestDueMany: lines that there is no room for are not written until others are old.
func TestDueMany(t *testing.T) {
	var l Limit
	now := time.Unix(1e9, 0)
	for range 2 {
		n := 0
		for i := range 2 * maxLines {
			if l.Due(strconv.Itoa(i), time.Minute, now) {
				n++
			}
		}
		if n != maxLines || len(l.lines) != maxLines {
			t.Errorf("%d lines, %d remembered", n, len(l.lines))
		}
		now = now.Add(time.Minute)
	}
}

// TestCount: the first is told of at once, those after it once a minute, by their number and the last of
// them, and then nothing until the next one.
func TestCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l Limit
		var told, want []string
		for i, test := range []struct {
			pause  time.Duration
			events int
			told   []string // "event number" after the pause, and after the events
		}{
			{0, 1, []string{"0 1"}},
			{0, 500, nil},
			{time.Minute - time.Second, 1, nil},
			{time.Second, 0, []string{"2 501"}},
			{10 * time.Minute, 3, []string{"4 1"}},
			{time.Minute, 0, []string{"4 2"}},
			{2 * time.Minute, 0, nil}, // nothing is left running
		} {
			time.Sleep(test.pause)
			synctest.Wait()
			for range test.events {
				l.Count(time.Minute, func(n int) { told = append(told, fmt.Sprint(i, " ", n)) })
			}
			want = append(want, test.told...)
			l.mu.Lock()
			if !slices.Equal(told, want) {
				t.Errorf("%d: told of %v, want %v", i, told, want)
			}
			l.mu.Unlock()
		}
	})
}

func TestMore(t *testing.T) {
	for n, want := range map[int]string{1: "", 2: " (1 like this since the last line)",
		9: " (8 like this since the last line)"} {
		if got := More(n); got != want {
			t.Errorf("%d: %q", n, got)
		}
	}
}
