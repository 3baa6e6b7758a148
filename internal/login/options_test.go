package login

import (
	"context"
	"path/filepath"
	"slices"
	"testing"

	"mailproxy/internal/mailhost"
	"mailproxy/tests/logintest"
)

// An account's own name and its own encryption at its mailhost; the log has the account's name.
func TestAccountOptions(t *testing.T) {
	secretFile := filepath.Join(t.TempDir(), "secret")
	writeFile(t, secretFile, "master's\n")
	master := []string{"PROXY_MASTER_USER=m", "PROXY_MASTER_PASSWORD_FILE=" + secretFile}
	for _, test := range []struct {
		protocol Protocol
		settings []string
		options  string
		dialed   string // "" = it comes to nothing
		user     string
		password string
		authzid  string
		startTLS bool
		log      []string
	}{
		{imap, nil, "", "127.0.0.2:143", "bob", "secret", "", false, nil},
		{imap, nil, "mailhostuser=Bob17,mailhosttls=", "127.0.0.2:143", "Bob17", "secret", "", false, nil},
		{imap, master, "mailhostuser=Bob17", "127.0.0.2:143", "m", "master's", "Bob17", false, nil},
		{imap, nil, "mailhosttls=starttls", "127.0.0.2:143", "bob", "secret", "", true, nil},
		{imap, []string{"PROXY_TLS=YES"}, "mailhosttls=STARTTLS", "127.0.0.2:143", "bob", "secret", "", true, nil},
		{imap, []string{"PROXY_TLS=YES"}, "mailhosttls=off", "127.0.0.2:143", "bob", "secret", "", false, nil},
		{pop3, []string{"PROXY_TLS=STARTTLS"}, "mailhosttls=NO", "127.0.0.2:110", "bob", "secret", "", false, nil},
		{imap, nil, "mailhosttls=maybe", "", "", "", "", false, []string{
			`ERR: account bob cannot be used: option mailhosttls="maybe": must be NO, STARTTLS or YES`}},
		{imap, nil, "mailhostuser=b\tb", "", "", "", "", false, []string{
			"WARN: account bob cannot be proxied: control character in its address or password"}},
	} {
		w := newWorld(t, test.protocol, append([]string{test.protocol.Name + "_PROXY=1"}, test.settings...)...)
		w.auth.Add("bob", "mailhost=there,"+test.options)
		w.Hosts["there"] = []string{"127.0.0.2"}
		var told mailhost.Conn
		take := func(_ context.Context, m *mailhost.Conn) error { told = *m; return nil }
		w.Servers["127.0.0.2:143"], w.Servers["127.0.0.2:110"] = take, take
		_, err := w.Login(t.Context(), password("bob", "secret"))
		if test.dialed == "" {
			if !sameError(err, ErrTemporary) || len(w.Dialed) > 0 {
				t.Errorf("%s: %v, dialed %q", test.options, err, w.Dialed)
			}
			w.wantLog(t, test.log...)
			continue
		}
		if err != nil || !slices.Equal(w.Dialed, []string{test.dialed}) || told.User != test.user ||
			told.Password != test.password || told.Authzid != test.authzid || told.Account() != "bob" ||
			(told.StartTLS != nil) != test.startTLS {
			t.Errorf("%v %s: %v, dialed %q, told %+v", test.settings, test.options, err, w.Dialed, told)
		}
		w.wantLog(t, test.log...)
	}
}

// With TLS from the first byte the default port is that of TLS, and nothing is said in clear text.
func TestAccountTLS(t *testing.T) {
	for _, protocol := range []Protocol{imap, pop3} {
		w := newWorld(t, protocol, protocol.Name+"_PROXY=1")
		w.auth.Add("bob", "mailhost=there;there:1,mailhosttls=YES,mailhostuser=Bob17")
		w.Hosts["there"] = []string{"127.0.0.2"}
		if _, err := w.Login(t.Context(), password("bob", "secret")); !sameError(err, ErrTemporary) {
			t.Error(err)
		}
		if want := []string{"127.0.0.2:" + protocol.TLSPort, "127.0.0.2:1"}; !slices.Equal(w.Dialed, want) {
			t.Errorf("dialed %q, want %q", w.Dialed, want)
		}
		w.wantLog(t, "WARN: Connection to proxyhost there failed, address=127.0.0.2:"+protocol.TLSPort+
			", step=connect, user=bob: nobody listens",
			"WARN: Connection to proxyhost there failed, address=127.0.0.2:1, step=connect, user=bob: nobody listens")
	}
}

// PROXY_MAILHOSTS bounds accounts with options of their own, too.
func TestAccountOptionsNotAllowed(t *testing.T) {
	w := newWorld(t, imap, "IMAP_PROXY=1", "PROXY_MAILHOSTS=192.0.2.0/24", "PROXY_VERIFY=MAILHOST")
	w.auth.Add("bob", "mailhost=there,mailhosttls=NO,mailhostuser=Bob17")
	w.Hosts["there"] = []string{"127.0.0.2"}
	w.Servers["127.0.0.2:143"] = logintest.Says(nil)
	_, err := w.Login(t.Context(), password("bob", "x"))
	if !sameError(err, ErrTemporary) || len(w.Dialed) > 0 {
		t.Errorf("%v, dialed %q", err, w.Dialed)
	}
}
