package authlib

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// hostileIDs are texts that a lenient parser takes for an id, mostly for root's or for "do not change".
var hostileIDs = []string{
	"0", "00", "4294967295", "4294967296", "8589934591", "18446744073709551615", "18446744073709551616", "-1",
	"+5", " 5", "5 ", "5001x",
	"0x5", "5.0", "1e3", "5_0", "٥", "abc", "root", "5\x00", "-0",
}

func TestParseID(t *testing.T) {
	for _, text := range append(hostileIDs, "") {
		if n, err := ParseID(text); err != ErrID || n != 0 {
			t.Errorf("ParseID(%q) = %d, %v", text, n, err)
		}
	}
	for text, want := range map[string]uint32{"1": 1, "1000": 1000, "0001000": 1000, "2147483648": 1 << 31,
		"4294967294": 1<<32 - 2} {
		if n, err := ParseID(text); err != nil || n != want {
			t.Errorf("ParseID(%q) = %d, %v", text, n, err)
		}
	}
}

func FuzzParseID(f *testing.F) {
	for _, text := range hostileIDs {
		f.Add(text)
	}
	f.Add("1000")
	f.Fuzz(func(t *testing.T, text string) {
		n, err := ParseID(text)
		if err != nil {
			return
		}
		if n == 0 || n == 1<<32-1 || strings.TrimLeft(text, "0") != fmt.Sprint(n) {
			t.Errorf("ParseID(%q) = %d", text, n)
		}
	})
}

// TestClientHostileIDs: whatever answers at the socket, no account comes of such an id.
func TestClientHostileIDs(t *testing.T) {
	for _, key := range []string{"UID", "GID"} {
		for _, value := range hostileIDs {
			if HasControl(value) {
				continue
			}
			c := reply(t, "ADDRESS=ann@x\nHOME=/h\n"+key+"="+value+"\n.\n")
			a, err := c.Authenticate(context.Background(), ann)
			var unusable *AccountError
			if a != nil || !errors.As(err, &unusable) || errors.Is(err, ErrRefused) {
				t.Errorf("%s=%s: %+v, %v", key, value, a, err)
				continue
			}
			for _, part := range []string{"ann@x", key, fmt.Sprintf("%.40q", value)} {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%s=%s: no %s in %v", key, value, part, err)
				}
			}
		}
	}
	// The ids of a system user come from the system; Courier's daemon then writes GID=0.
	a, err := reply(t, "USERNAME=ann\nGID=0\nHOME=/h\n.\n").Authenticate(context.Background(), ann)
	if err != nil || a.UID != nil || a.GID != nil {
		t.Errorf("%+v, %v", a, err)
	}
	if a, err := reply(t, "USERNAME=ann\nUID=0\nHOME=/h\n.\n").Authenticate(context.Background(),
		ann); err == nil {
		t.Errorf("a system user with uid 0: %+v", a)
	}
}
