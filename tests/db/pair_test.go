package db

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"mailproxy/authlib"
	"mailproxy/tests/harness"
)

// pair is Courier's authdaemond and ours, with the same module and settings.
type pair struct {
	module        string
	courier, ours *authlib.Client
	daemon        *harness.Process // ours
	directory     string           // its configuration
	clock         time.Time        // of the settings files
}

// newPair starts both. env are settings of authdaemonrc, such as LDAPTLS_CACERT.
func newPair(t testing.TB, module string, s settings, env harness.Env) *pair {
	t.Helper()
	p := &pair{module: module, directory: harness.Dir(t), clock: time.Now().Add(-time.Hour)}
	p.set(t, s)
	harness.CourierAuthdaemond(t, module, env)
	p.courier = &authlib.Client{Socket: harness.CourierAuthSocket}
	// Without the race detector, under which some hashes take a second. TestOutage and others have it.
	p.daemon = runDaemon(t, harness.PlainBin(t, "authdaemond"), p.directory, module, env)
	p.ours = &authlib.Client{Socket: filepath.Join(p.directory, "socket")}
	return p
}

// ourDaemon starts our authdaemond with the configuration in directory, where its socket is, too.
func ourDaemon(t testing.TB, directory, modules string, env harness.Env) *harness.Process {
	t.Helper()
	return runDaemon(t, harness.Bin(t, "authdaemond"), directory, modules, env)
}

func runDaemon(t testing.TB, program, directory, modules string, env harness.Env) *harness.Process {
	t.Helper()
	text := fmt.Sprintf("authmodulelist=%q\ndaemons=5\nauthdaemonvar=%s\n", modules, directory)
	for name, value := range env {
		text += fmt.Sprintf("%s=%q\n", name, value)
	}
	harness.WriteFile(t, filepath.Join(directory, "authdaemonrc"), text, 0o600)
	d := harness.Start(t, exec.Command(program, "-config", directory, "-user", "", "-allow",
		harness.ResidentUser))
	socket := filepath.Join(directory, "socket")
	if !harness.Eventually(func() bool {
		_, err := (&authlib.Client{Socket: socket}).Lookup(context.Background(),
			&authlib.LookupRequest{Module: "none", Service: "imap", User: "x"})
		return errors.Is(err, authlib.ErrRefused) || d.Ended()
	}) || d.Ended() {
		t.Fatalf("authdaemond does not answer; its log:\n%s", d.Log)
	}
	return d
}

// set changes the settings of both daemons, which are to notice by the file's time.
func (p *pair) set(t testing.TB, s settings) {
	t.Helper()
	p.clock = p.clock.Add(2 * time.Second)
	for _, directory := range []string{"/etc/courier", p.directory} {
		path := s.write(t, filepath.Join(directory, p.module+"rc"))
		if err := os.Chtimes(path, p.clock, p.clock); err != nil {
			t.Fatal(err)
		}
	}
	settle()
}

// question is what both are asked.
type question struct {
	how      string // "login", "cram-md5"..., "pre"
	service  string
	user, pw string
}

func (q question) String() string { return fmt.Sprintf("%s %s %q %q", q.how, q.service, q.user, q.pw) }

// ask returns the answer in one line.
func ask(c *authlib.Client, q question) string {
	ctx, cancel := context.WithTimeout(context.Background(), 2*harness.Patience)
	defer cancel()
	return harness.ShowAnswer(answer(ctx, c, q))
}

// asker is the part of authlib.Client and authlib.Module that questions need.
type asker interface {
	Authenticate(context.Context, *authlib.AuthRequest) (*authlib.Account, error)
	Lookup(context.Context, *authlib.LookupRequest) (*authlib.Account, error)
}

func answer(ctx context.Context, c asker, q question) (*authlib.Account, error) {
	switch q.how {
	case "pre":
		return c.Lookup(ctx, &authlib.LookupRequest{Service: q.service, User: q.user})
	case "login":
		return c.Authenticate(ctx,
			&authlib.AuthRequest{Service: q.service, Type: authlib.AuthLogin, User: q.user, Password: q.pw})
	}
	return c.Authenticate(ctx, harness.CRAMRequest(q.service, authlib.AuthType(q.how), q.user, q.pw))
}

// exceptions are the answers in which Courier and we differ on purpose: a reason for each question.
type exceptions func(q question, courier, ours string) (reason string)

// compare asks both all questions. An unused exception is an error, too.
func (p *pair) compare(t *testing.T, questions []question, differ exceptions) {
	t.Helper()
	used := 0
	for _, q := range questions {
		courier, ours := ask(p.courier, q), ask(p.ours, q)
		if courier == ours {
			continue
		}
		if differ != nil {
			if reason := differ(q, courier, ours); reason != "" {
				used++
				continue
			}
		}
		t.Errorf("%s\nCourier: %s\n   ours: %s", q, courier, ours)
	}
	if differ != nil && used == 0 {
		t.Error("there are exceptions listed for these questions, but the answers do not differ")
	}
}

// questionsFor asks for the accounts in every way: the right password, wrong ones, the stored clear one,
// CRAM, PRE.
func questionsFor(all []account) (list []question) {
	for _, a := range all {
		passwords := []string{a.secret, "wrong", "", a.clear, a.crypt, a.secret + "x"}
		slices.Sort(passwords)
		for _, pw := range slices.Compact(passwords) {
			list = append(list, question{"login", "imap", a.login, pw})
		}
		for _, how := range []string{"cram-md5", "cram-sha1", "cram-sha256"} {
			list = append(list, question{how, "pop3", a.login, a.clear}, question{how, "pop3", a.login, "wrong"})
		}
		list = append(list, question{"pre", "imap", a.login, ""})
	}
	for _, user := range []string{"nobody@example.com", "", "@", "@example.com", "user", "user@", "bare",
		"bare@", "CLEAR@example.com", " clear@example.com",
		"clear@example.com ", "a@b@c", strings.Repeat("x", 300)} {
		list = append(list, question{"login", "imap", user, "clear secret"}, question{"pre", "imap", user, ""})
	}
	return list
}
