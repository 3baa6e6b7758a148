package throttle

import (
	"bytes"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	"mailproxy/tests/clock"
)

// The memory counts as the file does: addresses, a /48's share, names, and what is over after the window.
func TestMemoryCountsAsTheFile(t *testing.T) {
	table, memory := newTable(t), NewMemory(fixed)
	step := func(i int) (addr netip.Addr, name string, at time.Time) {
		addr = netip.AddrFrom4([4]byte{192, 0, 2, byte(i % 5)})
		if i%3 == 0 {
			addr = netip.MustParseAddr(fmt.Sprintf("2001:db8:1:%x::%x", i%40, i))
		}
		return addr, fmt.Sprintf("Name%d", i%4), now.Add(time.Duration(i) * 4 * time.Second)
	}
	for i := range 600 {
		addr, name, at := step(i)
		want, err := table.Failed(addr, at)
		got, gotErr := memory.Failed(addr, at)
		if want != got || err != nil || gotErr != nil {
			t.Fatalf("failure %d of %v: %d, %v; the file says %d, %v", i, addr, got, gotErr, want, err)
		}
		want, err = table.FailedName(name, at)
		got, gotErr = memory.FailedName(name, at)
		if want != got || err != nil || gotErr != nil {
			t.Fatalf("failure %d of %s: %d, %v; the file says %d, %v", i, name, got, gotErr, want, err)
		}
	}
}

// What one process remembers is what the next one goes on with.
func TestMemoryHandedOver(t *testing.T) {
	old := NewMemory(fixed)
	addr := netip.MustParseAddr("192.0.2.7")
	for range 3 {
		old.Failed(addr, now)
		old.FailedName("ann", now)
	}
	data, err := old.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(data, []byte("ann")) {
		t.Error("it holds a login name")
	}
	next := NewMemory(fixed)
	if err := next.UnmarshalBinary(data); err != nil {
		t.Fatal(err)
	}
	if n, err := next.Failed(addr, now); n != 4 || err != nil {
		t.Errorf("address: %d, %v, want 4", n, err)
	}
	if n, err := next.FailedName("Ann", now); n != 4 || err != nil {
		t.Errorf("name: %d, %v, want 4", n, err)
	}
	if n, _ := next.Failed(addr, now.Add(window)); n != 1 {
		t.Errorf("after the window: %d", n)
	}
}

// Bytes of another version, or cut ones, change nothing.
func TestMemoryRefuses(t *testing.T) {
	m := NewMemory(fixed)
	addr := netip.MustParseAddr("192.0.2.7")
	m.Failed(addr, now)
	good, err := m.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	otherTable := bytes.Clone(good)
	otherTable[len(memoryMagic)+keySize] = 9
	for name, data := range map[string][]byte{
		"nothing": nil, "cut": good[:len(good)-1], "another version": append([]byte("MPthrom1"), good[8:]...),
		"another table": otherTable,
	} {
		if m.UnmarshalBinary(data) == nil {
			t.Errorf("%s is taken", name)
		}
	}
	if n, _ := m.Failed(addr, now); n != 2 {
		t.Errorf("%d failures afterwards, want 2", n)
	}
}

// However many addresses and names fail, the memory is bounded, and those that fail often stay.
func TestMemoryBounded(t *testing.T) {
	m := NewMemory(fixed)
	victim := netip.MustParseAddr("192.0.2.7")
	for range 5 {
		m.Failed(victim, now)
	}
	for i := range 2 * buckets * perBucket {
		m.Failed(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), now.Add(time.Second))
	}
	data, err := m.MarshalBinary()
	if most := len(memoryMagic) + keySize + buckets*perBucket*memoryEntry; err != nil || len(data) > most {
		t.Errorf("%d bytes, want at most %d; %v", len(data), most, err)
	}
	if n, _ := m.Failed(victim, now.Add(time.Second)); n != 6 {
		t.Errorf("the victim has %d failures, want 6", n)
	}
}

func TestMemoryConcurrent(t *testing.T) {
	m := NewMemory(fixed)
	addr := netip.MustParseAddr("192.0.2.7")
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 100 {
				m.Failed(addr, now)
				m.MarshalBinary()
			}
		})
	}
	wg.Wait()
	if n, _ := m.Failed(addr, now); n != 801 {
		t.Errorf("%d failures, want 801", n)
	}
}

// FuzzMemory: what is taken can be used, whatever it is.
func FuzzMemory(f *testing.F) {
	m := NewMemory(fixed)
	m.Failed(netip.MustParseAddr("192.0.2.7"), now)
	data, _ := m.MarshalBinary()
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		m := NewMemory(fixed)
		if m.UnmarshalBinary(data) != nil {
			return
		}
		if n, err := m.Failed(netip.MustParseAddr("192.0.2.7"), now); n < 1 || n > maxCount+2 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
	})
}

// fixed is a clock that stands still.
func fixed() time.Time { return now }

// TestMemoryClockSteps: what counts is the time that passes, however the clock is set meanwhile, also while
// another process takes over.
func TestMemoryClockSteps(t *testing.T) {
	addr := netip.MustParseAddr("192.0.2.7")
	for name, step := range clock.Steps() {
		var c clock.Clock
		m := NewMemory(c.Now)
		m.Failed(addr, c.Now())
		m.FailedName("ann", c.Now())
		c.Set(step)
		c.Pass(window - time.Minute)
		data, err := m.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		c.Set(step)
		next := NewMemory(c.Now)
		if err := next.UnmarshalBinary(data); err != nil {
			t.Fatal(err)
		}
		for who, m := range map[string]*Memory{"this process": m, "the next one": next} {
			n, _ := m.Failed(addr, c.Now())
			named, _ := m.FailedName("ann", c.Now())
			if n != 2 || named != 2 {
				t.Errorf("%s, %s: %d and %d failures, want 2", name, who, n, named)
			}
		}
		c.Set(-step)
		c.Pass(window + time.Minute)
		for who, m := range map[string]*Memory{"this process": m, "the next one": next} {
			if n, _ := m.Failed(addr, c.Now()); n != 1 {
				t.Errorf("%s, %s: %d failures after the window", name, who, n)
			}
		}
	}
}
