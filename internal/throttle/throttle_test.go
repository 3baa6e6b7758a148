package throttle

import (
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

var now = time.Unix(1_800_000_000, 0)

func open(t *testing.T, path string) *Table {
	t.Helper()
	table, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { table.Close() })
	return table
}

func TestFailedCountsAcrossTables(t *testing.T) {
	path := filepath.Join(t.TempDir(), "table")
	a, b := open(t, path), open(t, path)
	addr := netip.MustParseAddr("192.0.2.7")
	for want, table := range []*Table{a, b, a} {
		if n, err := table.Failed(addr, now); err != nil || n != want+1 {
			t.Fatalf("failure %d counted as %d, %v", want+1, n, err)
		}
	}
	if n, _ := b.Failures(netip.MustParseAddr("::ffff:192.0.2.7"), now); n != 3 {
		t.Errorf("the mapped address has %d failures, want 3", n)
	}
	if n, _ := b.Failures(netip.MustParseAddr("192.0.2.8"), now); n != 0 {
		t.Errorf("a neighbour has %d failures", n)
	}
	if n, _ := b.Failures(addr, now.Add(Window-time.Second)); n != 3 {
		t.Errorf("%d failures just before the window ends, want 3", n)
	}
	if n, _ := b.Failed(addr, now.Add(Window)); n != 1 {
		t.Errorf("%d failures after the window, want 1", n)
	}
}

func TestIPv6CountsByNetwork(t *testing.T) {
	table := open(t, filepath.Join(t.TempDir(), "table"))
	table.Failed(netip.MustParseAddr("2001:db8:0:1::1"), now)
	if n, _ := table.Failed(netip.MustParseAddr("2001:db8:0:1:ffff::2"), now); n != 2 {
		t.Errorf("second host of the network: %d, want 2", n)
	}
	if n, _ := table.Failed(netip.MustParseAddr("2001:db8:0:2::1"), now); n != 1 {
		t.Errorf("another network: %d, want 1", n)
	}
}

func TestEnter(t *testing.T) {
	table := open(t, filepath.Join(t.TempDir(), "table"))
	addr := netip.MustParseAddr("192.0.2.7")
	var leaves []func() error
	for i := range 3 {
		ok, leave, err := table.Enter(addr, 3, time.Minute, now)
		if !ok || err != nil {
			t.Fatalf("connection %d refused: %v", i+1, err)
		}
		leaves = append(leaves, leave)
	}
	if ok, leave, err := table.Enter(addr, 3, time.Minute, now); ok || err != nil || leave() != nil {
		t.Fatalf("a fourth connection entered: %v", err)
	}
	if ok, _, _ := table.Enter(netip.MustParseAddr("192.0.2.8"), 3, time.Minute, now); !ok {
		t.Error("another address was refused")
	}
	if err := leaves[0](); err != nil {
		t.Fatal(err)
	}
	if ok, _, _ := table.Enter(addr, 3, time.Minute, now); !ok {
		t.Error("refused although one has left")
	}
	if ok, _, _ := table.Enter(addr, 3, time.Minute, now.Add(time.Minute)); !ok {
		t.Error("refused although the killed processes' entries have expired")
	}
	if n, _ := table.Failures(addr, now); n != 0 {
		t.Errorf("connections counted as %d failures", n)
	}
}

// TestFull: a bucket that is full forgets what expires first, and never fails.
func TestFull(t *testing.T) {
	table := open(t, filepath.Join(t.TempDir(), "table"))
	for i := range 40_000 {
		addr := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		if n, err := table.Failed(addr, now.Add(time.Duration(i)*time.Microsecond)); err != nil || n != 1 {
			t.Fatalf("address %d: %d, %v", i, n, err)
		}
	}
	st, err := os.Stat(table.f.Name())
	if err != nil || st.Size() > buckets*bucketSize {
		t.Errorf("the table grew to %d bytes, %v", st.Size(), err)
	}
}

func TestConcurrent(t *testing.T) {
	path := filepath.Join(t.TempDir(), "table")
	addr := netip.MustParseAddr("192.0.2.7")
	var wg sync.WaitGroup
	for range 8 {
		table := open(t, path)
		wg.Go(func() {
			for range 200 {
				if _, err := table.Failed(addr, now); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	if n, _ := open(t, path).Failures(addr, now); n != 1600 {
		t.Errorf("%d failures counted, want 1600", n)
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "table")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path); err == nil {
		t.Error("a file that everybody may write was opened")
	}
	os.Chmod(path, 0o600)
	link := filepath.Join(dir, "link")
	os.Symlink(path, link)
	if _, err := Open(link); err == nil {
		t.Error("a symbolic link was followed")
	}
	if _, err := Open(dir); err == nil {
		t.Error("a folder was opened")
	}
	if err := os.WriteFile(path, []byte("garbage that is no table"), 0o600); err != nil {
		t.Fatal(err)
	}
	if n, err := open(t, path).Failed(netip.MustParseAddr("192.0.2.7"), now); err != nil || n != 1 {
		t.Errorf("over garbage: %d, %v", n, err)
	}
}

func TestDelay(t *testing.T) {
	const base, limit = 5 * time.Second, 30 * time.Second
	for n, want := range map[int]time.Duration{0: base, 1: base, 2: 2 * base, 6: limit, 7: limit, 1 << 20: limit} {
		if got := Delay(n, base, limit); got != want {
			t.Errorf("Delay(%d) = %v, want %v", n, got, want)
		}
	}
	if got := Delay(3, 5*time.Second, time.Second); got != 5*time.Second {
		t.Errorf("a limit below the base: %v", got)
	}
	if got := Delay(3, 0, time.Second); got != 0 && got != time.Second {
		t.Errorf("no base: %v", got)
	}
}
