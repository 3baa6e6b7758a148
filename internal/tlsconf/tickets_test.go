package tlsconf

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"mailproxy/internal/config"
)

func quiet(string, ...any) {}

func TestTicketKeysMadeOnceAndShared(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cache.keys")
	now := time.Unix(1_700_000_000, 0)
	var wg sync.WaitGroup
	got := make([]string, 20)
	for i := range got {
		wg.Go(func() {
			warn := func(f string, a ...any) { t.Errorf("warned: "+f, a...) }
			keys, err := loadTicketKeys(path, now, warn)
			for errors.Is(err, unix.EWOULDBLOCK) { // so many at once may keep the lock from one for too long
				keys, err = loadTicketKeys(path, now, warn)
			}
			if err != nil || len(keys) != 1 {
				t.Errorf("%d keys, %v", len(keys), err)
				return
			}
			got[i] = fmt.Sprintf("%x", keys[0].secret)
		})
	}
	wg.Wait()
	for _, g := range got {
		if g != got[0] {
			t.Fatalf("two processes made different keys: %v", got)
		}
	}
	if st, err := os.Stat(path); err != nil || st.Mode() != 0o600 {
		t.Errorf("%v, %v", st.Mode(), err)
	}
}

func TestTicketKeysRotate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "k")
	now := time.Unix(1_700_000_000, 0)
	first, err := loadTicketKeys(path, now, quiet)
	if err != nil {
		t.Fatal(err)
	}
	same, _ := loadTicketKeys(path, now.Add(ticketRotation-time.Second), quiet)
	if len(same) != 1 || same[0] != first[0] {
		t.Error("rotated too early")
	}
	for i := 1; i <= 4; i++ {
		keys, err := loadTicketKeys(path, now.Add(time.Duration(i)*ticketRotation), quiet)
		if err != nil || len(keys) != min(i+1, ticketKeep) {
			t.Fatalf("rotation %d: %d keys, %v", i, len(keys), err)
		}
		if old := keys[len(keys)-1] == first[0]; old != (i < ticketKeep) {
			t.Errorf("rotation %d: first key still there: %v", i, old)
		}
	}
	// A clock that ran ahead does not leave keys in use for years.
	keys, _ := loadTicketKeys(path, now.Add(-24*time.Hour), quiet)
	if keys[0].made != now.Add(-24*time.Hour).Unix() {
		t.Error("keys from the future stay in use")
	}
}

// Keys that are old and cannot be renewed go on being used, and are read again.
func TestTicketKeysNotOurs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "k")
	now := time.Unix(1_700_000_000, 0)
	first, err := loadTicketKeys(path, now, quiet)
	if err != nil {
		t.Fatal(err)
	}
	// Nobody, root included, can put a file in the place of a lock that is a directory.
	if err := errors.Join(os.Remove(path+".lock"), os.Mkdir(path+".lock", 0o700)); err != nil {
		t.Fatal(err)
	}
	warn := func(f string, a ...any) { t.Errorf("warned: "+f, a...) }
	for range 2 {
		keys, err := loadTicketKeys(path, now.Add(10*ticketRotation), warn)
		if err != nil || len(keys) != 1 || keys[0] != first[0] {
			t.Errorf("%d keys, %v", len(keys), err)
		}
	}
	renewed := formatTicketKeys([]ticketKey{{made: now.Unix(), secret: [32]byte{1}}})
	if err := os.WriteFile(path, renewed, 0o600); err != nil {
		t.Fatal(err)
	}
	keys, err := loadTicketKeys(path, now.Add(10*ticketRotation), warn)
	if err != nil || keys[0].secret != [32]byte{1} {
		t.Errorf("renewed by somebody else: %v, %v", keys, err)
	}
}

// A group that root lets read its file goes on reading it when root renews the keys.
func TestTicketKeysOfAGroup(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("only root can give a file to a group")
	}
	path := filepath.Join(t.TempDir(), "k")
	now := time.Unix(1_700_000_000, 0)
	first, err := loadTicketKeys(path, now, quiet)
	if err := errors.Join(err, os.Chown(path, 0, 12345), os.Chmod(path, 0o640)); err != nil {
		t.Fatal(err)
	}
	warn := func(f string, a ...any) { t.Errorf("warned: "+f, a...) }
	keys, err := loadTicketKeys(path, now.Add(ticketRotation), warn)
	if err != nil || len(keys) != 2 || keys[1] != first[0] {
		t.Errorf("%d keys, %v", len(keys), err)
	}
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil || st.Mode&0o7777 != 0o640 || st.Gid != 12345 {
		t.Errorf("after: %o, group %d, %v", st.Mode, st.Gid, err)
	}
}

func TestTicketKeysRefused(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	good := formatTicketKeys([]ticketKey{{made: now.Unix()}})
	for name, damage := range map[string]func(path string) error{
		"can be read": func(p string) error { return os.Chmod(p, 0o644) },
		"damaged":     func(p string) error { return os.WriteFile(p, good[:len(good)-3], 0o600) },
		"is damaged":  func(p string) error { return os.WriteFile(p, bytes.Repeat([]byte("x"), 9999), 0o600) },
		"regular":     func(p string) error { os.Remove(p); return os.Mkdir(p, 0o700) },
		"symbolic": func(p string) error {
			os.Rename(p, p+".elsewhere")
			return os.Symlink(p+".elsewhere", p)
		},
	} {
		path := filepath.Join(t.TempDir(), "k")
		if err := os.WriteFile(path, good, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := damage(path); err != nil {
			t.Fatal(err)
		}
		var said string
		keys, err := loadTicketKeys(path, now, func(f string, a ...any) { said += fmt.Sprintf(f, a...) })
		if name == "regular" { // a directory cannot be replaced by rename
			if err == nil {
				t.Errorf("%s: accepted", name)
			}
			continue
		}
		if err != nil || len(keys) != 1 || keys[0].secret == ([32]byte{}) {
			t.Errorf("%s: not replaced: %v %v", name, keys, err)
		}
		if !strings.Contains(said, name) {
			t.Errorf("%s: warning says %q", name, said)
		}
		if again, err := readTicketFile(path); err != nil || again[0] != keys[0] {
			t.Errorf("%s: file after: %v", name, err)
		}
	}
}

func TestTicketKeysBoundToPolicy(t *testing.T) {
	o := Options{TLS: config.TLS{Verify: config.VerifyNone}}
	k := ticketKey{}
	none := bind(k.secret, o.ticketPolicy())
	o.TLS.Verify = config.VerifyRequire
	if bind(k.secret, o.ticketPolicy()) == none {
		t.Error("a session without a client certificate could be resumed where one is required")
	}
}

func FuzzTicketFile(f *testing.F) {
	f.Add(formatTicketKeys([]ticketKey{{made: 1}}))
	f.Add(formatTicketKeys([]ticketKey{{made: 1 << 40}, {made: -5}}))
	f.Add([]byte(ticketMagic + "sum "))
	f.Fuzz(func(t *testing.T, data []byte) {
		keys, err := parseTicketKeys(data)
		if err == nil && !bytes.Equal(formatTicketKeys(keys), data) {
			t.Errorf("accepts what it does not write: %q", data)
		}
	})
}
