package main

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"mailproxy/authlib"
)

func TestCache(t *testing.T) {
	var asked atomic.Int64
	var clock atomic.Int64
	a, _ := fakeAsker(t, "AUTH_CACHE_TTL=60\nDEFAULTOPTIONS=d=1", &fake{name: "a", users: []string{"ann", "bob"},
		do: func(context.Context, string) error {
			asked.Add(1)
			return nil
		}})
	a.cache.now = func() time.Time { return time.Unix(clock.Load(), 0) }
	ctx := context.Background()
	login := func(service, user, password string) string {
		account, module, err := a.authenticate(ctx, &authlib.AuthRequest{Service: service, Type: authlib.AuthLogin,
			User: user, Password: password})
		if err != nil {
			return "refused"
		}
		return account.Address + " " + account.ClearPassword + " " + string(account.Options) + " " + module
	}
	for i, test := range []struct {
		do    func() string
		want  string
		asked int64
	}{
		{func() string { return login("imap", "ann", "ann") }, "ann ann own=1,d=1 a", 1},
		{func() string { return login("imap", "ann", "ann") }, "ann ann own=1,d=1 a", 1},
		// Nothing else is answered by it: another service, password, user; refusals are not remembered.
		{func() string { return login("pop3", "ann", "ann") }, "ann ann own=1,d=1 a", 2},
		{func() string { return login("imap", "ann", "x") }, "refused", 3},
		{func() string { return login("imap", "ann", "x") }, "refused", 4},
		{func() string { return login("imap", "bob", "bob") }, "bob bob own=1,d=1 a", 5},
		{func() string { return login("imapb", "ob", "bob") }, "refused", 6},
		{func() string { clock.Store(59); return login("imap", "ann", "ann") }, "ann ann own=1,d=1 a", 6},
		{func() string { clock.Store(60); return login("imap", "ann", "ann") }, "ann ann own=1,d=1 a", 7},
		// A changed password counts at once.
		{func() string {
			_, err := a.changePassword(ctx, &authlib.PasswordRequest{Service: "imap", User: "ann"})
			return fmt.Sprint(err)
		}, "<nil>", 8},
		{func() string { return login("imap", "ann", "ann") }, "ann ann own=1,d=1 a", 9},
	} {
		if got := test.do(); got != test.want || asked.Load() != test.asked {
			t.Errorf("%d: %s, asked %d; want %s, %d", i, got, asked.Load(), test.want, test.asked)
		}
	}
	for range 2 {
		if _, _, err := a.lookup(ctx, &authlib.LookupRequest{Service: "imap", User: "bob"}); err != nil {
			t.Error(err)
		}
	}
	if asked.Load() != 10 {
		t.Errorf("two lookups asked %d times", asked.Load()-9)
	}
	// Past the cache: the database is asked, and what it says is remembered.
	fresh := &authlib.AuthRequest{
		Service: "imap", Type: authlib.AuthLogin, User: "ann", Password: "ann", Fresh: true,
	}
	for range 2 {
		_, _, _ = a.lookup(ctx, &authlib.LookupRequest{Service: "imap", User: "bob", Fresh: true})
		_, _, _ = a.authenticate(ctx, fresh)
	}
	if asked.Load() != 14 {
		t.Errorf("four fresh questions asked %d times", asked.Load()-10)
	}
	_, _, _ = a.lookup(ctx, &authlib.LookupRequest{Service: "imap", User: "bob"})
	if asked.Load() != 14 {
		t.Error("the answer to a fresh question is not remembered")
	}
	asked.Store(10)
	// CRAM: each challenge is another question.
	for range 2 {
		_, _, _ = a.authenticate(ctx, &authlib.AuthRequest{Service: "imap", Type: authlib.AuthCRAMMD5,
			Challenge: []byte("x"), Response: []byte("bob 00")})
	}
	if asked.Load() != 12 {
		t.Errorf("two CRAM logins asked %d times", asked.Load()-10)
	}
}

// TestCacheRace: an answer to a question that was asked before a change of the password is not remembered
// after it.
func TestCacheRace(t *testing.T) {
	c := newCache(time.Minute, time.Now)
	key, era := c.key("login", "imap", "ann", "old")
	c.clear()
	c.put(key, era, &authlib.Account{Address: "ann"}, "a", "old")
	if _, _, ok := c.get(key, "old"); ok {
		t.Error("remembered")
	}
	// Nor is a clear password that was not in the question, and none is kept.
	key, era = c.key("lookup", "imap", "ann", "")
	c.put(key, era, &authlib.Account{Address: "ann", ClearPassword: "stored"}, "a", "")
	if _, _, ok := c.get(key, ""); ok {
		t.Error("an account with its stored clear password is remembered")
	}
	key, era = c.key("login", "imap", "ann", "geheim")
	c.put(key, era, &authlib.Account{Address: "ann", ClearPassword: "geheim"}, "a", "geheim")
	if strings.Contains(fmt.Sprintf("%+v", c.answers), "geheim") {
		t.Error("a clear password is kept")
	}
}

func TestCacheBound(t *testing.T) {
	c := newCache(time.Minute, time.Now)
	for i := range maxCached + 100 {
		key, era := c.key(fmt.Sprint(i))
		c.put(key, era, &authlib.Account{}, "a", "")
	}
	if n := len(c.answers); n > maxCached || n < maxCached/2 {
		t.Errorf("%d answers", n)
	}
}
