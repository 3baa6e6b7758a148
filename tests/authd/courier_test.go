package authd

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"mailproxy/authlib"
	"mailproxy/tests/harness"
)

// run runs one of Courier's programs and returns its output and exit status.
func run(stdin, name string, args ...string) string {
	cmd := exec.Command(name, args...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	status := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		status = exit.ExitCode()
	} else if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%s(status %d)", out, status)
}

// TestCourierTools: authtest and authenumerate print the same with either daemon, byte for byte.
func TestCourierTools(t *testing.T) {
	theirs, ours := both(t, harness.Env{"DEFAULTOPTIONS": "wbnodsn=1"}, func(t *testing.T) []string {
		return []string{
			run("", "authtest", "six"),
			run("", "authtest", "six", "secret"),
			run("", "authtest", "six", "wrong"),
			run("", "authtest", "-s", "imap", "svc", "imapsecret"),
			run("", "authtest", "-s", "pop3", "svc", "imapsecret"),
			run("", "authtest", "a@x.org", "secret"),
			run("", "authtest", "nobody"),
			run("", "authtest", "ünï", "secret"),
			run("", "authenumerate"),
			run("", "authenumerate", "-o"),
			run("", "authenumerate", "-s"),
			run("", "authtest", "sys", "secret", "newer"),
			run("", "authtest", "sys", "newer", "x"),
		}
	})
	for i := range theirs {
		if theirs[i] != ours[i] && i != len(theirs)-1 {
			t.Errorf("Courier:\n%s\nours:\n%s", theirs[i], ours[i])
		}
	}
	if !strings.Contains(theirs[0], "Authentication succeeded") || strings.Count(theirs[8], "\n") < 400 {
		t.Errorf("Courier's tools do not work here:\n%s\n%s", theirs[0], theirs[8])
	}
}

// TestCourierLogins: Courier's imaplogin and courierpop3login ask our daemon, and run the account's session.
func TestCourierLogins(t *testing.T) {
	const hash = "$6$saltstring$" + // of "secret"
		"AIsRs/Ee56G/tC8MEHhvReZTfx8u3rXXMl6eYrjCG9ibix19DxoMBLogdTET5Ukw9Sf7eZTITsuk0Ry5qulYz."
	harness.Userdb(t,
		harness.Account{
			Name: "ann@example.org", Password: "sec ret", CRAM: true, Home: harness.NewHome(t, "for ann"),
		},
		harness.Account{Name: "bob", Password: "pw2", Hash: hash, Home: harness.NewHome(t)})
	harness.Authdaemonrc(t, "authuserdb", nil)
	p := daemon(t, harness.Bin(t, "authdaemond"))
	harness.IMAP.UnderCourier(t, "127.0.40.1", harness.CourierIMAPLogin,
		harness.Env{"IMAP_CAPABILITY": "IMAP4rev1 AUTH=PLAIN", "IMAP_PROXY": "0"})
	harness.POP3.UnderCourier(t, "127.0.40.1", harness.CourierPOP3Login,
		harness.Env{"POP3AUTH": "PLAIN", "POP3_PROXY": "0"})
	for _, session := range []struct{ addr, text string }{
		{"127.0.40.1:143", `
			S~ \* OK .*
			C: a LOGIN ann@example.org "sec ret"
			S* a OK .*
			C: b SELECT INBOX
			S* \* 1 EXISTS`},
		{"127.0.40.1:143", "S~ \\* OK .*\nC: a LOGIN bob secret\nS* a OK .*\nC: b LOGOUT\nS* b OK .*\n"},
		{"127.0.40.1:143", "S~ \\* OK .*\nC: a LOGIN bob wrong\nS: a NO Login failed.\n"},
		{"127.0.40.1:110", `
			S~ \+OK .*
			C: USER ann@example.org
			S~ \+OK .*
			C: PASS sec ret
			S~ \+OK .*
			C: STAT
			S~ \+OK 1 .*`},
		{"127.0.40.1:110", "S~ \\+OK .*\nC: USER nobody\nS~ \\+OK .*\nC: PASS x\nS: -ERR Login failed.\n"},
	} {
		harness.Dialogue(t, session.addr, session.text)
	}
	// A temporary failure of our daemon is one for Courier's programs: not "wrong password".
	p.Stop()
	harness.Authdaemonrc(t, "authfoo authuserdb", nil)
	daemon(t, harness.Bin(t, "authdaemond"))
	harness.Dialogue(t, "127.0.40.1:143",
		"S~ \\* OK .*\nC: a LOGIN bob secret\nS: * BYE Temporary problem, please try again later\n")
	harness.Dialogue(t, "127.0.40.1:110", `
		S~ \+OK .*
		C: USER bob
		S~ \+OK .*
		C: PASS secret
		S: -ERR Temporary problem, please try again later`)
}

// TestCourierDaemon: our client asks Courier's daemon.
func TestCourierDaemon(t *testing.T) {
	harness.Userdb(t,
		harness.Account{Name: "ann@example.org", Password: "secret", CRAM: true, Options: "mailhost=127.0.0.2"})
	harness.CourierAuthdaemond(t, "authuserdb", nil)
	ctx := context.Background()
	client := &authlib.Client{}
	a, err := client.Authenticate(
		ctx,
		&authlib.AuthRequest{
			Service: "imap", Type: authlib.AuthLogin, User: "ann@example.org", Password: "secret",
			RemoteIP: "::ffff:192.0.2.7",
		},
	)
	if err != nil || a.Address != "ann@example.org" || a.ClearPassword != "secret" || *a.UID != harness.MailID {
		t.Errorf("%+v, %v", a, err)
	}
	if mailhost, _ := a.Options.Get("mailhost"); mailhost != "127.0.0.2" {
		t.Errorf("options %q", a.Options)
	}
	if a, err := client.Authenticate(ctx, harness.CRAMRequest("imap", authlib.AuthCRAMSHA256, "ann@example.org",
		"secret")); err != nil ||
		a.ClearPassword != "" {
		t.Errorf("%+v, %v", a, err)
	}
	for _, req := range []*authlib.AuthRequest{
		{Service: "imap", Type: authlib.AuthLogin, User: "ann@example.org", Password: "wrong"},
		{Service: "imap", Type: authlib.AuthLogin, User: "nobody", Password: "secret"},
		{Service: "imap", Type: authlib.AuthLogin, User: "ann@example.org", Password: "secret\n"},
		{Service: "imap", Type: authlib.AuthLogin, User: "ann@example.org", Password: strings.Repeat("x", 8150)},
		{Service: "imap", Type: authlib.AuthLogin, User: "ann@example.org", Password: strings.Repeat("x", 9000)},
	} {
		if _, err := client.Authenticate(ctx, req); !errors.Is(err, authlib.ErrRefused) {
			t.Errorf("%.40q: %v", req.Password, err)
		}
	}
	if _, err := client.Lookup(ctx,
		&authlib.LookupRequest{Service: "imap", User: "ann@example.org"}); err != nil {
		t.Error(err)
	}
	if err := client.ChangePassword(ctx, &authlib.PasswordRequest{Service: "imap", User: "ann@example.org",
		OldPassword: "x", NewPassword: "y"}); !errors.Is(
		err,
		authlib.ErrRefused,
	) {
		t.Error(err)
	}
	n := 0
	if err := client.Enumerate(ctx, func(*authlib.Account) error { n++; return nil }); n != 1 || err != nil {
		t.Errorf("%d accounts, %v", n, err)
	}
}
