package throttle

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"mailproxy/tests/testlog"
)

var now = time.Unix(1_800_000_000, 0)

func openTable(t testing.TB, path string) *Table {
	t.Helper()
	var table *Table
	if err := patient(func() (err error) { table, err = Open(path); return err }); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { table.Close() })
	return table
}

func newTable(t testing.TB) *Table { return openTable(t, filepath.Join(t.TempDir(), "table")) }

// failures is what one more failure of addr counts, without keeping it.
func failures(t *testing.T, table *Table, addr string, now time.Time) int {
	t.Helper()
	who, n := table.whose(netip.MustParseAddr(addr)), uint32(0)
	err := table.change(tableFailures, who.network, now, func(b *bucket) {
		if e := b.find(kindAddress, who.network, who.address); e != nil {
			n = e.count
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return int(n)
}

func TestFailedCountsAcrossTables(t *testing.T) {
	path := filepath.Join(t.TempDir(), "table")
	a, b := openTable(t, path), openTable(t, path)
	addr := netip.MustParseAddr("192.0.2.7")
	for want, table := range []*Table{a, b, a} {
		if n, err := table.Failed(addr, now); err != nil || n != want+1 {
			t.Fatalf("failure %d counted as %d, %v", want+1, n, err)
		}
	}
	if n := failures(t, b, "::ffff:192.0.2.7", now); n != 3 {
		t.Errorf("the mapped address has %d failures, want 3", n)
	}
	if n := failures(t, b, "192.0.2.8", now); n != 0 {
		t.Errorf("a neighbour has %d failures", n)
	}
	if n := failures(t, b, "192.0.2.7", now.Add(window-time.Second)); n != 3 {
		t.Errorf("%d failures just before the window ends, want 3", n)
	}
	if n, _ := b.Failed(addr, now.Add(window)); n != 1 {
		t.Errorf("%d failures after the window, want 1", n)
	}
}

func TestIPv6CountsByNetwork(t *testing.T) {
	table := newTable(t)
	table.Failed(netip.MustParseAddr("2001:db8:0:1::1"), now)
	if n, _ := table.Failed(netip.MustParseAddr("2001:db8:0:1:ffff::2"), now); n != 2 {
		t.Errorf("second host of the /64: %d, want 2", n)
	}
	if n, _ := table.Failed(netip.MustParseAddr("2001:db8:0:2::1"), now); n != 1 {
		t.Errorf("another /64: %d, want 1", n)
	}
	// A /48 that uses another /64 for each guess is slowed down all the same.
	last := 0
	for i := range 200 {
		last, _ = table.Failed(netip.MustParseAddr(fmt.Sprintf("2001:db8:1:%x::1", i)), now)
	}
	if last != 200/networkShare {
		t.Errorf("200 failures of a /48 weigh %d, want %d", last, 200/networkShare)
	}
}

// A /48 with many times the entries of a bucket pushes no address out, neither among the failures nor among
// the connections.
func TestNetworkPushesNobodyOut(t *testing.T) {
	table := newTable(t)
	const victims = 300
	for i := range victims {
		addr := netip.AddrFrom4([4]byte{192, 0, byte(i >> 8), byte(i)})
		if _, err := table.Failed(addr, now); err != nil {
			t.Fatal(err)
		}
		if ok, _, err := table.Acquire(addr, 1, time.Minute, now); !ok || err != nil {
			t.Fatal(ok, err)
		}
	}
	for i := range 64 * perBucket {
		addr := netip.MustParseAddr(fmt.Sprintf("2001:db8:1:%x::1", i))
		if _, _, err := table.Acquire(addr, MaxConnections, time.Hour, now); err != nil {
			t.Fatal(err)
		}
		if _, err := table.Failed(addr, now.Add(time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range victims {
		addr := netip.AddrFrom4([4]byte{192, 0, byte(i >> 8), byte(i)})
		if n := failures(t, table, addr.String(), now); n != 1 {
			t.Errorf("%v has %d failures, want 1", addr, n)
		}
		if ok, _, _ := table.Acquire(addr, 1, time.Minute, now); ok {
			t.Errorf("%v has a second connection", addr)
		}
	}
}

// flood adds as many entries like e to every bucket as it has slots, all of a bucket in one change: with
// changes of their own they take half a minute.
func flood(t *testing.T, table *Table, in tableKind, e entry) {
	t.Helper()
	for n := range uint64(buckets) {
		err := table.change(in, n<<1|1, now, func(b *bucket) {
			for i := range uint64(perBucket) {
				e.network = (i*buckets+n)<<1 | 1
				e.address, e.expires = e.network, now.Add(time.Minute).Unix()
				b.add(e)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// Connections push out no failures, and failures no connections, however many.
func TestFloodsApart(t *testing.T) {
	table := newTable(t)
	addr := netip.MustParseAddr("192.0.2.7")
	table.Failed(addr, now)
	table.FailedName("ann", now)
	if ok, _, err := table.Acquire(addr, 1, time.Minute, now); !ok || err != nil {
		t.Fatal(ok, err)
	}
	flood(t, table, tableConnections, entry{kind: kindConnection})
	if n := failures(t, table, "192.0.2.7", now); n != 1 {
		t.Errorf("%d failures after a flood of connections", n)
	}
	if n, err := table.FailedName("ann", now); n != 2 || err != nil {
		t.Errorf("name: %d, %v", n, err)
	}
	// Who has failed often stays even in a full table of those who failed once.
	for range 5 {
		table.Failed(addr, now)
	}
	flood(t, table, tableFailures, entry{kind: kindAddress, count: 1})
	flood(t, table, tableFailures, entry{kind: kindAddress, count: 1})
	if n := failures(t, table, "192.0.2.7", now); n != 6 {
		t.Errorf("%d failures after a flood of failures, want 6", n)
	}
}

func TestFailedName(t *testing.T) {
	table := newTable(t)
	for want, name := range []string{"ann@example.com", "Ann@Example.COM", "ann@example.com"} {
		if n, err := table.FailedName(name, now); n != want+1 || err != nil {
			t.Errorf("%s: %d, %v, want %d", name, n, err, want+1)
		}
	}
	for _, name := range []string{"bob@example.com", "anna@example.com", "a-nn@example.com"} {
		if n, _ := table.FailedName(name, now); n != 1 {
			t.Errorf("another name, %s: %d", name, n)
		}
	}
	if n, _ := table.FailedName("ann@example.com", now.Add(window)); n != 1 {
		t.Errorf("after the window: %d", n)
	}
}

// Names that a database may take for the same one count together: who guesses from many addresses must not
// have a count of its own for each spelling.
func TestFailedNameSpellings(t *testing.T) {
	for _, spellings := range [][]string{
		// MySQL ignores blanks at the end, LDAP those at both ends; full width letters, accents.
		{"ann@example.com", "ann@example.com ", " ann@example.com  ", "\uff41nn@example.com",
			"\u00e1nn@example.com",
			"a\u0301nn@example.com", "an\u200dn@example.com", "ANN@example.com"},
		{"stra\u00dfe\u03c3", "STRA\u00dfE\u03a3", "stra\u00dfe\u03c2"},
		{"jo\xe9", "JO\xe9"},
	} {
		table := newTable(t)
		for want, name := range spellings {
			if n, err := table.FailedName(name, now); n != want+1 || err != nil {
				t.Errorf("%+q: %d, %v, want %d", name, n, err, want+1)
			}
		}
	}
}

func TestEnter(t *testing.T) {
	table := newTable(t)
	addr := netip.MustParseAddr("192.0.2.7")
	var releases []func() error
	for i := range 3 {
		ok, release, err := table.Acquire(addr, 3, time.Minute, now)
		if !ok || err != nil {
			t.Fatalf("connection %d refused: %v", i+1, err)
		}
		releases = append(releases, release)
	}
	if ok, release, err := table.Acquire(addr, 3, time.Minute, now); ok || err != nil || release() != nil {
		t.Fatalf("a fourth connection entered: %v", err)
	}
	if ok, _, _ := table.Acquire(netip.MustParseAddr("192.0.2.8"), 3, time.Minute, now); !ok {
		t.Error("another address was refused")
	}
	if err := releases[0](); err != nil {
		t.Fatal(err)
	}
	if ok, _, _ := table.Acquire(addr, 3, time.Minute, now); !ok {
		t.Error("refused although one has left")
	}
	if ok, _, _ := table.Acquire(addr, 3, time.Minute, now.Add(time.Minute)); !ok {
		t.Error("refused although the killed processes' entries have expired")
	}
	if n := failures(t, table, "192.0.2.7", now); n != 0 {
		t.Errorf("connections counted as %d failures", n)
	}
}

// A /48 has four times as many connections as an address.
func TestEnterNetwork(t *testing.T) {
	table := newTable(t)
	entered := 0
	for i := range 50 {
		ok, _, err := table.Acquire(netip.MustParseAddr(fmt.Sprintf("2001:db8:1:%x::1", i)), 3, time.Minute, now)
		if err != nil {
			t.Fatal(err)
		}
		if ok {
			entered++
		}
	}
	if entered != 3*networkConnections {
		t.Errorf("%d connections of a /48, want %d", entered, 3*networkConnections)
	}
	if ok, _, _ := table.Acquire(netip.MustParseAddr("2001:db8:2::1"), 3, time.Minute, now); !ok {
		t.Error("another /48 was refused")
	}
}

// TestFull: a bucket that is full forgets something, and never fails; the file does not grow.
func TestFull(t *testing.T) {
	table := newTable(t)
	flood(t, table, tableFailures, entry{kind: kindAddress, count: 1})
	for i := range 2 * buckets {
		addr := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		if n, err := table.Failed(addr, now.Add(time.Duration(i)*time.Microsecond)); err != nil || n != 1 {
			t.Fatalf("address %d: %d, %v", i, n, err)
		}
	}
	st, err := os.Stat(table.f.Name())
	if err != nil || st.Size() > headerStart+headerSize+3*tableSize {
		t.Errorf("the table grew to %d bytes, %v", st.Size(), err)
	}
}

// Goroutines that share a Table, and Tables of their own, in the process and in others.
func TestConcurrent(t *testing.T) {
	path := filepath.Join(t.TempDir(), "table")
	addr := netip.MustParseAddr("192.0.2.7")
	var commands []*exec.Cmd
	for range 4 { // they make the file
		command := exec.Command("/proc/self/exe")
		command.Env = []string{"THROTTLE_TEST_TABLE=" + path, "GORACE=" + os.Getenv("GORACE")}
		command.Stderr = os.Stderr
		if err := command.Start(); err != nil {
			t.Fatal(err)
		}
		commands = append(commands, command)
	}
	shared := openTable(t, path)
	var wg sync.WaitGroup
	for i := range 8 {
		table := shared
		if i%2 == 0 {
			table = openTable(t, path)
		}
		wg.Go(func() {
			for range 200 {
				if err := patient(func() error { _, err := table.Failed(addr, now); return err }); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	for _, command := range commands {
		if err := command.Wait(); err != nil {
			t.Error(err)
		}
	}
	if n := failures(t, shared, "192.0.2.7", now); n != 8*200+4*200 {
		t.Errorf("%d failures counted, want %d", n, 8*200+4*200)
	}
}

// patient tries again where a dozen that want the same lock at once have kept it from one for too long.
func patient(try func() error) error {
	for {
		if err := try(); !errors.Is(err, errBusy) {
			return err
		}
	}
}

// TestMain also is a process that counts failures.
func TestMain(m *testing.M) {
	path := os.Getenv("THROTTLE_TEST_TABLE")
	if path == "" {
		os.Exit(m.Run())
	}
	for i := range 200 {
		var table *Table
		err := patient(func() (err error) { table, err = Open(path); return err })
		if err == nil {
			err = patient(func() error { _, err := table.Failed(netip.MustParseAddr("192.0.2.7"), now); return err })
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, i, err)
			os.Exit(1)
		}
		table.Close()
	}
	os.Exit(0)
}

// A process that keeps a lock keeps nobody waiting for longer than lockWait.
func TestLockHeld(t *testing.T) {
	path := filepath.Join(t.TempDir(), "table")
	table, holder := openTable(t, path), openTable(t, path)
	lock := unix.Flock_t{Type: unix.F_WRLCK}
	if err := unix.FcntlFlock(holder.f.Fd(), unix.F_OFD_SETLK, &lock); err != nil {
		t.Fatal(err)
	}
	for name, use := range map[string]func() error{
		"Enter": func() error {
			_, _, err := table.Acquire(netip.MustParseAddr("192.0.2.7"), 1, time.Minute, now)
			return err
		},
		"Failed": func() error { _, err := table.Failed(netip.MustParseAddr("192.0.2.7"), now); return err },
		"Open":   func() error { _, err := Open(path); return err },
	} {
		start := time.Now()
		err := use()
		if took := time.Since(start); err == nil || !strings.Contains(err.Error(), errBusy.Error()) ||
			took < lockWait || took > testlog.Patience {
			t.Errorf("%s: %v after %v", name, err, took)
		}
	}
	holder.Close()
	if _, err := table.Failed(netip.MustParseAddr("192.0.2.7"), now); err != nil {
		t.Errorf("after the lock has gone: %v", err)
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	for name, prepare := range map[string]func(path string) error{
		"everybody may write": func(path string) error {
			return firstError(os.WriteFile(path, nil, 0o600), os.Chmod(path, 0o666))
		},
		"another's": func(path string) error {
			return firstError(os.WriteFile(path, nil, 0o600),
				os.Chown(path, 1234, 1234))
		},
		"link": func(path string) error { return os.Symlink(filepath.Join(dir, "target"), path) },
		"hard link": func(path string) error {
			return firstError(os.WriteFile(path+"2", nil, 0o600), os.Link(path+"2", path))
		},
		"directory": func(path string) error { return os.Mkdir(path, 0o700) },
		"pipe":      func(path string) error { return unix.Mkfifo(path, 0o600) },
		"text": func(path string) error {
			return os.WriteFile(path, []byte("garbage that is no table"),
				0o600)
		},
		"a page": func(path string) error {
			return os.WriteFile(path, []byte(strings.Repeat("text", 512)),
				0o600)
		},
		"a big file": func(path string) error {
			return os.WriteFile(path, make([]byte, headerStart+headerSize),
				0o600)
		},
		"half a bucket": func(path string) error { return os.WriteFile(path, make([]byte, bucketSize/2), 0o600) },
	} {
		path := filepath.Join(dir, name)
		if err := prepare(path); err != nil {
			t.Fatal(err)
		}
		before, err := os.Lstat(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := Inspect(path); err == nil {
			t.Errorf("%s passes the inspection", name)
		}
		if table, err := Open(path); err == nil {
			table.Close()
			t.Errorf("%s was opened", name)
		}
		if after, err := os.Stat(path); before.Mode().IsRegular() && (err != nil || after.Size() != before.Size()) {
			t.Errorf("%s was changed", name)
		}
	}
}

// Inspect finds nothing wrong with what Open would take or make, and leaves it as it is.
func TestInspect(t *testing.T) {
	dir := t.TempDir()
	missing, empty, table := filepath.Join(dir, "missing"), filepath.Join(dir, "empty"), filepath.Join(dir,
		"table")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	failures(t, openTable(t, table), "192.0.2.7", now)
	for _, path := range []string{missing, empty, table} {
		before, _ := os.ReadFile(path)
		if err := Inspect(path); err != nil {
			t.Error(err)
		}
		if after, _ := os.ReadFile(path); !bytes.Equal(before, after) {
			t.Errorf("%s was changed", path)
		}
	}
	if _, err := os.Stat(missing); err == nil {
		t.Error("a table was made")
	}
	if err := Inspect(filepath.Join(dir, "none", "table")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no directory: %v", err)
	}
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// A file of the first version, and one of a version to come, becomes a new table with a key of its own; this
// version's is kept.
func TestVersions(t *testing.T) {
	path := filepath.Join(t.TempDir(), "table")
	old := make([]byte, 3*bucketSize)
	binary.LittleEndian.PutUint32(old[bucketSize+28:], 1)
	binary.LittleEndian.PutUint32(old[2*bucketSize+60:], version1Kind)
	if err := os.WriteFile(path, old, 0o600); err != nil {
		t.Fatal(err)
	}
	first := openTable(t, path)
	if first.key == [keySize]byte{} {
		t.Error("no key")
	}
	if n, err := first.Failed(netip.MustParseAddr("192.0.2.7"), now); n != 1 || err != nil {
		t.Error(n, err)
	}
	// What a process of the first version still writes goes into the hole.
	if _, err := first.f.WriteAt(old, 0); err != nil {
		t.Fatal(err)
	}
	second := openTable(t, path)
	if second.key != first.key || failures(t, second, "192.0.2.7", now) != 1 {
		t.Error("the table was made anew")
	}
	if _, err := first.f.WriteAt([]byte{version + 1}, headerStart+int64(len(magic))); err != nil {
		t.Fatal(err)
	}
	third := openTable(t, path)
	if third.key == first.key || failures(t, third, "192.0.2.7", now) != 0 {
		t.Error("another version's table was used")
	}
}

func TestDelay(t *testing.T) {
	const base, limit = 5 * time.Second, 33 * time.Second
	for n, want := range map[int]time.Duration{-1: base, 0: base, 1: base, 2: 2 * base, 6: 30 * time.Second,
		7: 30 * time.Second, 1 << 20: 30 * time.Second} {
		if got := Delay(n, base, limit); got != want {
			t.Errorf("Delay(%d) = %v, want %v", n, got, want)
		}
	}
	if got := Delay(3, 5*time.Second, time.Second); got != 5*time.Second {
		t.Errorf("a limit below the base: %v", got)
	}
	if got := Delay(3, 0, time.Second); got != 0 {
		t.Errorf("no base: %v", got)
	}
}

// FuzzCorrupt: whatever a bucket holds, it stops nobody, and no count is out of bounds.
func FuzzCorrupt(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte(strings.Repeat("\xff", bucketSize)))
	f.Add([]byte(strings.Repeat("\x01", bucketSize)))
	table := newTable(f)
	addr := netip.MustParseAddr("2001:db8::1")
	f.Fuzz(func(t *testing.T, content []byte) {
		content = content[:min(len(content), bucketSize)]
		for _, in := range []tableKind{tableFailures, tableConnections} {
			offset := headerStart + headerSize + int64(in)*tableSize +
				int64(table.whose(addr).network>>1%buckets)*bucketSize
			if _, err := table.f.WriteAt(make([]byte, bucketSize), offset); err != nil {
				t.Fatal(err)
			}
			if _, err := table.f.WriteAt(content, offset); err != nil {
				t.Fatal(err)
			}
		}
		if n, err := table.Failed(addr, now); err != nil || n < 1 || n > maxCount+2 {
			t.Errorf("Failed: %d, %v", n, err)
		}
		ok, release, err := table.Acquire(addr, 2, time.Minute, now)
		if err != nil || !ok {
			t.Errorf("Enter: %v, %v", ok, err)
		}
		if err := release(); err != nil {
			t.Error(err)
		}
	})
}
