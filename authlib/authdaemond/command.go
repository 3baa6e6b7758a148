package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"

	"mailproxy/authlib"
)

// The commands test and enumerate ask the databases themselves, without the daemon, and show what it would
// answer, in the format of Courier's authtest and authenumerate, with the mailhost and the module added.

// test shows an account, checks its password, or changes it.
func (p *program) test(ctx context.Context, s *settings, args []string) int {
	flags := flag.NewFlagSet("authdaemond test", flag.ContinueOnError)
	flags.SetOutput(p.stderr)
	service := flags.String("s", "login", "`service` to ask for")
	if err := flags.Parse(args); err != nil || flags.NArg() < 1 || flags.NArg() > 3 {
		p.log.Errf("usage: authdaemond test [-s SERVICE] USER [PASSWORD [NEWPASSWORD]]")
		return exitUsage
	}
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	a := newAsker(s, p.setup(s, true), nil, p.now)
	defer a.close(nil)
	user, pw := flags.Arg(0), flags.Arg(1)
	var account *authlib.Account
	var module string
	var err error
	switch flags.NArg() {
	case 1:
		account, module, err = a.lookup(ctx, &authlib.LookupRequest{Service: *service, User: user})
	case 2:
		account, module, err = a.authenticate(
			ctx,
			&authlib.AuthRequest{Service: *service, Type: authlib.AuthLogin, User: user, Password: pw},
		)
	default:
		module, err = a.changePassword(
			ctx,
			&authlib.PasswordRequest{Service: *service, User: user, OldPassword: pw, NewPassword: flags.Arg(2)},
		)
	}
	switch {
	case errors.Is(err, authlib.ErrRefused):
		fmt.Fprintf(p.stderr, "Authentication FAILED: %v\n", err)
		return exitRefused
	case err != nil:
		fmt.Fprintf(p.stderr, "Authentication FAILED: temporary failure: %s: %v\n", module, err)
		return exitFailure
	case account == nil:
		fmt.Fprintln(p.stdout, "Password change succeeded.")
		return exitOK
	}
	fmt.Fprint(p.stdout, report(account, module))
	return exitOK
}

// report shows an account as Courier's authtest does.
func report(a *authlib.Account, module string) string {
	text := func(s string) string {
		if s == "" {
			return "(none)"
		}
		return s
	}
	who := "(system username: " + a.SystemUser + ")"
	if a.SystemUser == "" && a.UID != nil && a.GID != nil {
		who = fmt.Sprintf("(uid %d, gid %d)", *a.UID, *a.GID)
	}
	mailhost, _ := a.Options.Get("mailhost")
	return fmt.Sprintf(
		"Authentication succeeded.\n\n     Authenticated: %s  %s\n    Home Directory: %s\n           Maildir: %s\n"+
			"             Quota: %s\nEncrypted Password: %s\nCleartext Password: %s\n           Options: %s\n"+
			"          Mailhost: %s\n            Module: %s\n",
		a.Address, who, text(a.Home), text(a.Maildir), text(a.Quota), text(a.CryptPassword),
		text(a.ClearPassword), text(string(a.Options)), text(mailhost), module)
}

// enumerate lists the accounts.
func (p *program) enumerate(ctx context.Context, s *settings, args []string) int {
	flags := flag.NewFlagSet("authdaemond enumerate", flag.ContinueOnError)
	flags.SetOutput(p.stderr)
	options := flags.Bool("o", false, "show the options as well")
	if err := flags.Parse(args); err != nil || flags.NArg() > 0 {
		p.log.Errf("usage: authdaemond enumerate [-o]")
		return exitUsage
	}
	a := newAsker(s, p.setup(s, true), nil, p.now)
	defer a.close(nil)
	out := bufio.NewWriter(p.stdout)
	defer out.Flush()
	module := ""
	begin := func(name string) error { module = name; return nil }
	err := a.enumerate(ctx, begin, func(account *authlib.Account) error {
		// Root cannot log in: Courier's authenumerate leaves it out.
		if account.UID == nil || account.GID == nil || *account.UID == 0 {
			return nil
		}
		line := fmt.Sprintf("%s\t%d\t%d\t%s\t%s\t",
			account.Address, *account.UID, *account.GID, account.Home, account.Maildir)
		if *options {
			line += string(account.Options) + "\t"
		}
		mailhost, _ := account.Options.Get("mailhost")
		_, err := fmt.Fprintf(out, "%s%s\t%s\n", line, mailhost, module)
		return err
	})
	if err != nil {
		out.Flush()
		fmt.Fprintf(p.stderr, "the list is not complete: %s: %v\n", module, err)
		return exitFailure
	}
	return exitOK
}
