package check

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"time"

	"mailproxy/authlib"
	"mailproxy/authlib/password"
)

const (
	// testTime limits authdaemond's test.
	testTime = 30 * time.Second
	// maxTest bounds what is shown of it, in bytes.
	maxTest = 8 << 10
)

// noAnswer reports that the auth module has not answered, with the database's own words where authdaemond can
// say them, and the command that shows more.
func (c *check) noAnswer(ctx context.Context, user string, err error) {
	r := c.report
	r.fail("auth", "%v", err)
	program := c.server.AuthProgram()
	words := []string{cmp.Or(program, "authdaemond")}
	if directory := c.server.Config.AuthDirectory; directory != "" {
		words = append(words, "-config", directory)
	}
	words = append(words, "test", "-s", c.server.Protocol.Service)
	if strings.HasPrefix(user, "-") {
		words = append(words, "--")
	}
	words = append(words, user)
	// The answer to a temporary failure carries no reason. authdaemond's own program tells it, if it is
	// installed here.
	if program != "" && errors.Is(err, io.ErrUnexpectedEOF) {
		for _, line := range ownWords(ctx, program, words[1:]) {
			r.fail("auth", "authdaemond says: %s", line)
		}
	}
	r.info("auth", "this, as root, shows more: %s", shellWords(words))
}

// shellWords writes a command as the shell takes it.
func shellWords(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = w
		if w == "" || strings.ContainsFunc(w, isSpecial) {
			quoted[i] = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
		}
	}
	return strings.Join(quoted, " ")
}

// isSpecial says whether a character may mean something to the shell.
func isSpecial(r rune) bool {
	isPlain := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
	return !isPlain && !strings.ContainsRune("@%+=:,./-_", r)
}

// ownWords runs authdaemond's test and returns the lines of its standard error. Its standard output, which
// shows hashes, is not read.
func ownWords(ctx context.Context, program string, args []string) []string {
	ctx, cancel := context.WithTimeout(ctx, testTime)
	defer cancel()
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stderr = &out
	cmd.WaitDelay = time.Second
	// It fails, as the question did; what it writes is the answer.
	_ = cmd.Run()
	text := out.Bytes()
	text = text[:min(len(text), maxTest)]
	return shortened(strings.FieldsFunc(string(text), func(r rune) bool { return r == '\n' }))
}

// shortened leaves out what authdaemond's test says twice: its verdict names module and reason, and lines of
// its log have the reason as well.
func shortened(lines []string) []string {
	for i, line := range lines {
		verdict, ok := strings.CutPrefix(line, "Authentication FAILED: temporary failure: ")
		if !ok {
			continue
		}
		_, reason, _ := strings.Cut(verdict, ": ")
		log := slices.DeleteFunc(
			slices.Clone(lines[:i]),
			func(l string) bool { return strings.Contains(l, reason) },
		)
		return slices.Concat(log, []string{verdict}, lines[i+1:])
	}
	return lines
}

// hash says whether the account's stored hash is one that any password can match. It never shows the hash.
func (c *check) hash(account *authlib.Account) {
	hash := account.CryptPassword
	if hash == "" {
		return
	}
	say := c.report.fail
	if account.ClearPassword != "" {
		say = c.report.warn // which of the two decides is the database's business
	}
	if password.Locked(hash) {
		say("auth", "the stored hash is locked (it begins with ! or *, or is empty): no password matches it")
		return
	}
	var unknown *password.UnknownSchemeError
	if _, err := password.Verify(hash, ""); errors.As(err, &unknown) {
		say("auth", "%v: no password matches it; authdaemond(8) lists the schemes", unknown)
	}
}

// disabled says which of the account's options refuse its logins.
func (c *check) disabled(account *authlib.Account) {
	r, s := c.report, c.server
	deny := func(format string, args ...any) {
		c.denied = true
		r.fail("auth", format, args...)
	}
	never, insecure := "disable"+s.Protocol.Service, "disableinsecure"+s.Protocol.Service
	switch on, err := account.Options.Switch(never); {
	case err != nil:
		deny("%v: such logins fail for the time being", err)
	case on:
		deny("option %s: the account may not log in", never)
	}
	switch on, err := account.Options.Switch(insecure); {
	case err != nil:
		deny("%v: such logins fail for the time being", err)
	case on && !s.Config.StartTLS && !s.Config.Encrypted && s.Config.Balancers == nil:
		deny("option %s: the account may not log in without TLS, and there is none", insecure)
	case on:
		r.warn("auth", "option %s: the account may not log in without TLS", insecure)
	}
}
