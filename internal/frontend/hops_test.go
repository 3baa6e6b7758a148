package frontend

import (
	"errors"
	"testing"
)

func TestLimitHops(t *testing.T) {
	for _, test := range []struct {
		said []string
		left int
	}{
		{nil, 4}, {[]string{"4"}, 3}, {[]string{"1"}, 0}, {[]string{"0"}, -1}, {[]string{"5"}, 4}, {[]string{"99"}, 4}, {[]string{"1", "4"}, 0},
		{[]string{"", "-1", "x", "1e0", "99999999999999999999"}, 4},
	} {
		s := &Conn{}
		for _, text := range test.said {
			s.LimitHops(text)
		}
		if s.hopsLeft() != test.left {
			t.Errorf("%q: %d left, want %d", test.said, s.hopsLeft(), test.left)
		}
	}
}

func TestNoHopsLeft(t *testing.T) {
	w := newWorld(t, imap, "IMAP_PROXY=1")
	w.account("bob", "mailhost=192.0.2.9")
	w.LimitHops("1")
	_, err := w.Login(t.Context(), password("bob", "secret"), "a1")
	want := "WARN: Login to 192.0.2.9 failed, address=192.0.2.9:143, step=connect, user=bob: the session has come through as many proxies as it may: proxying loop refused"
	w.wantLog(t, want)
	if !errors.Is(err, ErrTemporary) || len(w.dialed) > 0 {
		t.Errorf("%v, dialed %q", err, w.dialed)
	}
}
