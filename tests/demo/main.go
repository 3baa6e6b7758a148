// Command demo shows what a proxy aggregator does, on one machine and without any rights: two IMAP servers
// with different mailboxes, an account database with two users, and one proxy address. Both users log in
// at the proxy, and each reaches the right server behind it. The dialogue is written to standard output.
//
// It plays the launcher as well: imapd-proxy serves one connection on its standard input, as it does under
// couriertcpd, tcpserver, xinetd or systemd.
//
// Afterwards it stays up to be tried by hand; with DEMO_ONCE=1 it ends. Exit status: 0, or 1 when a user
// landed on the wrong server or anything else went wrong.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	status := run(ctx, os.Args[1:], os.Getenv("DEMO_ONCE") == "1", os.Stdout, os.Stderr)
	stop()
	os.Exit(status)
}

// run is the program; it returns the exit status.
func run(ctx context.Context, args []string, once bool, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("demo", flag.ContinueOnError)
	flags.SetOutput(stderr)
	bin := flags.String("bin", "bin", "`directory` of imapd-proxy and authdaemond")
	listen := flags.String("listen", "127.0.0.1:1143",
		"address of the proxy; another port is taken when this one is not free")
	if err := flags.Parse(args); err != nil {
		return 1
	}
	if err := demo(ctx, *bin, *listen, once, &output{w: stdout}); err != nil {
		fmt.Fprintf(stderr, "demo: %v\n", err)
		return 1
	}
	return 0
}

// users are the accounts of the demonstration. Each lives on a server of its own.
func users() []user {
	return []user{
		{name: "ann@example.com", password: "ann's secret", folder: "Projects",
			subject: "Welcome to server one, Ann"},
		{name: "bob@example.com", password: "bob's secret", folder: "Holidays",
			subject: "Welcome to server two, Bob"},
	}
}

// user is one account, and what is to be found in its mailbox.
type user struct {
	name, password  string
	folder, subject string
	// mailhost is where the account is, "host:port".
	mailhost string
}

func demo(ctx context.Context, bin, listen string, once bool, out *output) (err error) {
	bin, err = filepath.Abs(bin)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	accounts := users()
	for i := range accounts {
		stop, err := startMailhost(&accounts[i], fmt.Sprintf("127.0.0.%d", i+2))
		if err != nil {
			return fmt.Errorf("start an IMAP server: %w", err)
		}
		defer stop()
	}
	directory, err := os.MkdirTemp("", "mailproxy-demo")
	if err != nil {
		return err
	}
	defer os.RemoveAll(directory)
	if err := writeUserdb(filepath.Join(directory, "userdb"), accounts); err != nil {
		return fmt.Errorf("write the account database: %w", err)
	}
	auth, err := startAuthdaemond(ctx, bin, directory, out)
	if err != nil {
		return err
	}
	defer auth.stop()
	proxy, err := startProxy(ctx, bin, listen, auth.socket, out)
	if err != nil {
		return err
	}
	defer proxy.stop()

	out.section("What is running")
	for i, u := range accounts {
		out.printf("  IMAP server %d   %-16s the mail of %s", i+1, u.mailhost, u.name)
	}
	out.printf("  authdaemond     answers from %s", filepath.Join(directory, "userdb"))
	out.printf("  the proxy       %-16s starts imapd-proxy for each connection", proxy.addr)
	for _, u := range accounts {
		out.section(fmt.Sprintf("%s logs in at the proxy, %s", u.name, proxy.addr))
		if err := show(ctx, proxy.addr, u, out); err != nil {
			return fmt.Errorf("%s did not get to %s: %w", u.name, u.mailhost, err)
		}
	}
	if err := proxy.wait(30 * time.Second); err != nil {
		return err
	}
	out.section("Both users reached their own server through one address")
	if once {
		return nil
	}
	out.byHand(proxy.addr, accounts)
	select {
	case <-ctx.Done():
		return nil
	case <-auth.done:
		return errors.New("authdaemond has ended")
	}
}
