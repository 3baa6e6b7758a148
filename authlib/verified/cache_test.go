package verified

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"mailproxy/tests/clock"
)

// open returns a Cache and its clock.
func open(t testing.TB, ttl time.Duration) (*Cache, *clock.Clock) {
	t.Helper()
	now := new(clock.Clock)
	c, err := New(ttl, now.Now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c, now
}

// ask verifies, where a hash is right for its own text, and tells whether the hash was computed.
func ask(t testing.TB, c *Cache, hash, password string) (match, computed bool) {
	t.Helper()
	match, known, err := c.Verify(hash, password, func() (bool, error) {
		computed = true
		return hash == password, nil
	})
	if err != nil || known == computed {
		t.Errorf("known %v, computed %v, %v", known, computed, err)
	}
	return match, computed
}

func TestRemembers(t *testing.T) {
	c, now := open(t, time.Minute)
	want := func(hash, password string, match, computed bool) {
		t.Helper()
		if m, did := ask(t, c, hash, password); m != match || did != computed {
			t.Errorf("%.20q, %.20q: match %v, computed %v", hash, password, m, did)
		}
	}
	want("a", "a", true, true)
	want("a", "a", true, false)
	// Wrong passwords pay in full, and so does the right one under another hash.
	want("a", "b", false, true)
	want("a", "b", false, true)
	want("ab", "a", false, true)
	want("", "aa", false, true) // the length tells where the hash ends
	want("", "", true, true)
	want("", "", true, false)
	now.Pass(59 * time.Second)
	want("a", "a", true, false)
	now.Pass(time.Second)
	want("a", "a", true, true)
	want("a", "a", true, false)
	c.Forget()
	want("a", "a", true, true)
	now.Pass(59 * time.Second)
	want("a", "a", true, false)
	c.Reset(time.Second)
	want("a", "a", true, true)
	want("a", "a", true, false)
	now.Pass(time.Second)
	want("a", "a", true, true)
	for _, n := range []int{maxPassword, maxPassword + 1} {
		long := strings.Repeat("x", n)
		want(long, long, true, true)
		want(long, long, true, n > maxPassword)
	}
	broken := errors.New("broken")
	fails := func() (bool, error) { return true, broken }
	for range 2 {
		if _, known, err := c.Verify("e", "e", fails); known || err != broken {
			t.Errorf("known %v, %v", known, err)
		}
	}
	c.Close()
	want("a", "a", true, true)
	want("a", "a", true, true)
	c.Close()
	var none *Cache
	none.Forget()
	none.Close()
	if _, computed := ask(t, none, "a", "a"); !computed || none.Entries() != 0 {
		t.Error("nil remembers")
	}
}

// TestClockSteps: an entry lives for the time that passes, however the clock is set meanwhile.
func TestClockSteps(t *testing.T) {
	for name, step := range clock.Steps() {
		var now clock.Clock
		c, err := newCache(1000, time.Minute, now.Now)
		if err != nil {
			t.Fatal(err)
		}
		ask(t, c, "right", "right")
		now.Set(step)
		now.Pass(50 * time.Second)
		if _, computed := ask(t, c, "right", "right"); computed {
			t.Errorf("%s: forgotten too early", name)
		}
		now.Set(-2 * step)
		now.Pass(11 * time.Second)
		if _, computed := ask(t, c, "right", "right"); !computed {
			t.Errorf("%s: remembered for too long", name)
		}
		c.Close()
	}
}

// TestForgetMeanwhile: what was being computed when everything was forgotten is not remembered.
func TestForgetMeanwhile(t *testing.T) {
	c, _ := open(t, time.Minute)
	_, _, _ = c.Verify("a", "a", func() (bool, error) {
		c.Forget()
		return true, nil
	})
	if _, computed := ask(t, c, "a", "a"); !computed {
		t.Error("it was remembered")
	}
}

// TestHMAC: it is HMAC-SHA-256 with a key of 64 random bytes, and Forget makes another.
func TestHMAC(t *testing.T) {
	c, _ := open(t, time.Minute)
	var sums [][sha256.Size]byte
	for range 2 {
		key := bytes.Clone(c.mem[innerAt:textAt])
		for i := range key {
			key[i] ^= 0x36
		}
		mac := hmac.New(sha256.New, key)
		mac.Write(binary.LittleEndian.AppendUint64(nil, 4))
		mac.Write([]byte("hashpassword"))
		sum := c.sum("hash", "password")
		if !bytes.Equal(mac.Sum(nil), sum[:]) {
			t.Error("not HMAC-SHA-256")
		}
		if bytes.Contains(c.mem, []byte("password")) {
			t.Error("the password stays")
		}
		sums = append(sums, sum)
		c.Forget()
	}
	if sums[0] == sums[1] {
		t.Error("the key is the old one")
	}
}

// TestBounded: more than there is room for is computed again, and nothing else.
func TestBounded(t *testing.T) {
	const most = 4000
	c, err := newCache(most, time.Minute, time.Now)
	if err != nil || c.Entries() != most {
		t.Fatalf("room for %d, %v", c.Entries(), err)
	}
	t.Cleanup(c.Close)
	size := len(c.mem)
	for i := range 2 * most {
		text := fmt.Sprint(i)
		if match, _ := ask(t, c, text, text); !match {
			t.Fatal(i)
		}
	}
	known := 0
	for i := range 2 * most {
		text := fmt.Sprint(i)
		if k, _ := c.find(text, text); k {
			known++
		}
	}
	if known > most || known < most*9/10 || len(c.mem) != size {
		t.Errorf("%d remembered in %d bytes", known, len(c.mem))
	}
}

// limitVariable makes this test binary a process that may lock as many bytes as it says.
const limitVariable = "VERIFIED_TEST_MEMLOCK"

func TestMain(m *testing.M) {
	if text := os.Getenv(limitVariable); text != "" {
		limited(text)
		return
	}
	os.Exit(m.Run())
}

// limited prints what New makes of a limit, as a user without privileges.
func limited(text string) {
	var n uint64
	if _, err := fmt.Sscan(text, &n); err != nil {
		fmt.Println(err)
		return
	}
	if err := unix.Setrlimit(unix.RLIMIT_MEMLOCK, &unix.Rlimit{Cur: n, Max: n}); err != nil {
		fmt.Println(err)
		return
	}
	if err := unix.Setuid(65534); err != nil {
		fmt.Println(err)
		return
	}
	c, err := New(time.Minute, time.Now)
	fmt.Println(c.Entries(), err)
}

// TestMemoryLimit: fewer entries where less may be locked, and none where it is not worth it.
func TestMemoryLimit(t *testing.T) {
	for limit, want := range map[string]string{
		"8388608": "100000 <nil>", "2100000": "50000 <nil>", "65536": "1560 <nil>",
		"16384": "0 mlock: cannot allocate memory (RLIMIT_MEMLOCK is 16384 bytes)",
	} {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), limitVariable+"="+limit)
		out, err := cmd.CombinedOutput()
		if got := strings.TrimSpace(string(out)); got != want || err != nil {
			t.Errorf("%s bytes: %s, %v; want %s", limit, got, err, want)
		}
	}
}

// TestLocked: the kernel says that the mapping is locked and left out of core files.
func TestLocked(t *testing.T) {
	c, _ := open(t, time.Minute)
	smaps, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		t.Fatal(err)
	}
	address := fmt.Sprintf("%x-", &c.mem[0])
	_, after, ok := strings.Cut("\n"+string(smaps), "\n"+strings.TrimPrefix(address, "0x"))
	if !ok {
		t.Fatalf("no mapping at %s", address)
	}
	for line := range strings.Lines(after) {
		if flags, ok := strings.CutPrefix(line, "VmFlags:"); ok {
			for _, flag := range []string{"lo", "dd", "dc"} { // locked, not dumped, not copied by fork
				if !strings.Contains(flags, " "+flag) {
					t.Errorf("%q lacks %s", flags, flag)
				}
			}
			return
		}
	}
	t.Error("no VmFlags")
}

func BenchmarkKnown(b *testing.B) {
	c, _ := open(b, time.Hour)
	hash := "$2b$10$" + strings.Repeat("x", 53)
	compute := func() (bool, error) { return true, nil }
	for b.Loop() {
		if match, _, err := c.Verify(hash, "secret", compute); !match || err != nil {
			b.Fatal(err)
		}
	}
}
