package login

import (
	"errors"
	"testing"
)

func TestNoHopsLeft(t *testing.T) {
	w := newWorld(t, imap, "IMAP_PROXY=1")
	w.auth.Add("bob", "mailhost=192.0.2.9")
	w.LimitHops("1")
	_, err := w.Login(t.Context(), password("bob", "secret"))
	want := "WARN: Login to 192.0.2.9 failed, address=192.0.2.9:143, step=connect, user=bob: the session has " +
		"come through as many proxies as it may: proxying loop refused"
	w.wantLog(t, want)
	if !errors.Is(err, ErrTemporary) || len(w.Dialed) > 0 {
		t.Errorf("%v, dialed %q", err, w.Dialed)
	}
}
