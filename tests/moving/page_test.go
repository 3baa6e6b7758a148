package moving

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"mailproxy/tests/harness"
)

// used notes which blocks of the page have been used.
type used struct {
	mu    sync.Mutex
	marks map[string]bool
}

func (u *used) note(mark string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.marks == nil {
		u.marks = map[string]bool{}
	}
	u.marks[mark] = true
}

// all expects that each block of the page has been used, but for those about databases, which tests/db runs.
func (u *used) all(t *testing.T, p harness.Page) {
	t.Helper()
	for _, mark := range p.Marks() {
		if !u.marks[mark] && !strings.HasPrefix(mark, "sql ") && !strings.HasPrefix(mark, "rc ") {
			t.Errorf("the block %q of the page has not been run", mark)
		}
	}
}

// filesOfAll are the blocks that change the file of all accounts. They run one at a time, as one
// administrator would type them.
var filesOfAll = []string{"sh hold", "sh change"}

// text is a block with the names of this move in it.
func (v *move) text(t *testing.T, mark string) string {
	t.Helper()
	v.used.note(mark)
	pairs := []string{
		"ann@example.com", v.user, `ann@example\.com`, regexp.QuoteMeta(v.user),
		"mail1.example", v.from.Addr, `mail1\.example`, regexp.QuoteMeta(v.from.Addr),
		"mail2.example", v.to.Addr,
		"/etc/mailproxy/userdb", "/etc/courier/userdb",
		" -config /etc/mailproxy/imapd -config /etc/mailproxy/imapd-ssl", "", // the settings are in the environment
		"sleep 60", fmt.Sprintf("sleep %d", loginTimeout),
		"hold=50", fmt.Sprintf("hold=%d", v.hold),
	}
	return strings.NewReplacer(pairs...).Replace(v.page.Block(t, mark))
}

// run runs the commands of a block until they end well, and returns what they print.
func (v *move) run(t *testing.T, mark string) string {
	t.Helper()
	if slices.Contains(filesOfAll, mark) {
		v.files.Lock()
		defer v.files.Unlock()
	}
	script := "set -eu\n" + v.text(t, mark)
	var out string
	var errs []string
	// A copy may have to be repeated, the page says.
	if !harness.Eventually(func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), harness.Patience)
		defer cancel()
		cmd := exec.CommandContext(ctx, "sh", "-c", script)
		cmd.Dir = harness.Dir(t)
		cmd.Env = []string{"PATH=" + v.commands + ":/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C",
			"DOVECOT=" + filepath.Join(v.from.Dir, "dovecot.conf"), "GORACE=" + os.Getenv("GORACE")}
		var said strings.Builder
		cmd.Stderr = &said
		text, err := cmd.Output()
		if err != nil {
			errs = append(errs, fmt.Sprintf("%v: %s", err, said.String()))
		}
		out = string(text)
		return err == nil
	}) {
		t.Fatalf("%s:\n%s\n%s", mark, script, strings.Join(errs, "\n"))
	}
	for _, e := range errs {
		t.Logf("%s had to be repeated: %s", mark, e)
	}
	return out
}

// install makes the directory of the commands that the page names: with the servers and sockets of this move.
func (v *move) install(t *testing.T, p *harness.Proxy, socket string) {
	t.Helper()
	v.commands = harness.Dir(t)
	for name, command := range map[string]string{
		"doveadm": `/usr/bin/doveadm -c "$DOVECOT"`,
		"mailproxyctl": strings.Join(
			append([]string{harness.PlainBin(t, "mailproxyctl")}, p.Control()...), " "),
		"imapd-proxy": "env IMAP_PROXY=1 AUTHDAEMON_SOCKET=" + socket + " " + harness.PlainBin(t, "imapd-proxy"),
	} {
		text := "#!/bin/sh\nexec " + command + ` "$@"` + "\n"
		harness.WriteFile(t, filepath.Join(v.commands, name), text, 0o755)
	}
}
