package successor

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestPart: a part works until it is stopped, and again when it is started, until it is closed.
func TestPart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		working := 0
		p := &Part{Name: "work", Run: func(ctx context.Context) {
			working++
			<-ctx.Done()
			working--
		}}
		for i, test := range []struct {
			name string
			do   func()
			want int
		}{
			{"start", p.Start, 1}, {"start", p.Start, 1}, {"stop", func() { _ = p.Stop() }, 0},
			{"stop", func() { _ = p.Stop() }, 0}, {"start", p.Start, 1}, {"close", func() { _ = p.Close() }, 0},
			{"start", p.Start, 0}, {"close", func() { _ = p.Close() }, 0},
		} {
			began := time.Now()
			test.do()
			synctest.Wait()
			if working != test.want || time.Since(began) > 0 {
				t.Errorf("%d, %s: %d work, want %d", i, test.name, working, test.want)
			}
		}
	})
}

// TestPartDoesNotRest: a part that does not come to rest does not keep a reload for ever: its name is in the
// error, and it can go on afterwards.
func TestPartDoesNotRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		end := make(chan struct{})
		p := &Part{Name: "work", Run: func(context.Context) { <-end }}
		for range 2 {
			p.Start()
			began := time.Now()
			if err := p.Stop(); err == nil || !strings.HasPrefix(err.Error(), "work has not come to an end") {
				t.Error(err)
			}
			if took := time.Since(began); took != restTime {
				t.Errorf("it took %v", took)
			}
		}
		close(end)
		p.Start()
		if err := p.Stop(); err != nil {
			t.Error(err)
		}
	})
}
