package resident

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"mailproxy/internal/mailhost"
	"mailproxy/relay"
	"mailproxy/tests/metricstest"
)

// fakeRelayd takes sessions and reports, or does not.
type fakeRelayd struct {
	available bool
	err       error // of Carry and Report
	reported  int
}

func (f *fakeRelayd) Available() bool                             { return f.available }
func (f *fakeRelayd) Carry(context.Context, *relay.Session) error { return f.err }
func (f *fakeRelayd) Report(*relay.Report) error {
	if f.err == nil {
		f.reported++
	}
	return f.err
}

// TestOneCount: a login is counted by relayd or here, never by both and never by nobody.
func TestOneCount(t *testing.T) {
	for _, tc := range []struct {
		relayd fakeRelayd
		here   int
	}{
		{fakeRelayd{available: true}, 0}, {fakeRelayd{}, 1},
		{fakeRelayd{available: true, err: errors.New("gone")}, 1},
	} {
		n := newStatistics()
		r := reports{&tc.relayd, n.logins}
		err := r.Report(&relay.Report{Protocol: "IMAP", Result: relay.LoginRefused, Took: time.Second})
		if err != nil || !r.Available() {
			t.Error(err)
		}
		var out strings.Builder
		n.logins.Write(&out)
		const line = `mailproxy_logins_total{protocol="imap",result="refused",mailhost=""} 1`
		here := strings.Count(out.String(), line)
		if here != tc.here || here+tc.relayd.reported != 1 {
			t.Errorf("%+v: %d here, %d by relayd", tc, here, tc.relayd.reported)
		}
	}
}

func TestHandOvers(t *testing.T) {
	n := newStatistics()
	for _, err := range []error{nil, nil, fmt.Errorf("%w: 1", relay.ErrLimit), relay.ErrUnavailable} {
		h := handOvers{&fakeRelayd{err: err}, n.set}
		if got := h.Carry(context.Background(), nil); !errors.Is(got, err) {
			t.Errorf("%v, not %v", got, err)
		}
	}
	var out strings.Builder
	n.set.Write(&out)
	samples := metricstest.Lint(t, out.String())
	for result, want := range map[string]float64{"taken": 2, "limit": 1, "failed": 1} {
		if got := samples[fmt.Sprintf("mailproxy_handovers_total{result=%q}", result)]; got != want {
			t.Errorf("%s: %v", result, got)
		}
	}
}

// TestHealthIsBounded: states of many addresses are well-formed, and not more than there may be.
func TestHealthIsBounded(t *testing.T) {
	var states []mailhost.State
	for i := range maxShown + 10 {
		addr := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, byte(i >> 8), byte(i)}), 143)
		states = append(states, mailhost.State{Mailhost: mailhost.Mailhost{Host: "mail1", Addr: addr},
			UnderWay: 1, Waiting: 2, Turned: 4})
		if i == maxShown+5 { // those that are down come first
			states[i].Down, states[i].Since = true, time.Unix(1e9, 0)
		}
	}
	var out strings.Builder
	writeHealth(&out, states)
	samples := metricstest.Lint(t, out.String())
	if len(samples) != 4*maxShown+1 {
		t.Errorf("%d samples", len(samples))
	}
	for name, want := range map[string]float64{"down": 1, "down_since_seconds": 1e9, "logins": 1, "waiting": 2,
		"turned_away": 4} {
		labels := `{mailhost="mail1",address="127.0.1.249:143"}`
		if got := samples["mailproxy_mailhost_address_"+name+labels]; got != want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
