// Mailproxyctl shows the sessions of relayd and of resident imapd-proxy and pop3d-proxy together, ends them,
// and shows these programs' counters and the states of mailhosts. It asks their admin sockets, and believes
// only programs of root's, of its own user and of the services' users.
//
// It only shows what one of these programs reports: sessions that are carried by a process of their own are
// in no list.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"mailproxy/internal/peercred"
	"mailproxy/internal/version"
	"mailproxy/relay/handoff"
)

// Exit codes.
const (
	exitOK     = 0
	exitUsage  = 100 // wrong arguments
	exitSystem = 111 // nobody answers, or not everybody who should
)

func main() {
	os.Exit(run(context.Background(), os.Args[1:], time.Now, terminalWidth(os.Stdout), os.Stdout, os.Stderr))
}

const usage = `usage: mailproxyctl [-json] [-socket [NAME=]PATH]... [-user NAME,...] [-timeout DURATION]
                    who | kick USER|ADDRESS | stats | mailhosts
       mailproxyctl version
`

// config is what the program was told.
type config struct {
	command, whom string
	sources       []source
	users         []string // who may listen, besides root and this process's user
	timeout       time.Duration
	json          bool
}

// run is the program; args are without its name, width is that of tables.
func run(ctx context.Context, args []string, now func() time.Time, width int, stdout, stderr io.Writer) int {
	c, err := parse(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitOK
	case err != nil:
		fmt.Fprintf(stderr, "mailproxyctl: %s\n", shown(err.Error()))
		return exitUsage
	case c.command == "version":
		fmt.Fprintf(stdout, "mailproxyctl %s\n", version.Version)
		return exitOK
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	var out bytes.Buffer
	s := screen{w: &out, width: width, json: c.json, now: now()}
	programs, err := c.commands()[c.command](ctx, s)
	if err == nil {
		_, err = stdout.Write(out.Bytes())
	}
	status := exitOK
	for _, p := range programs {
		if p.Error != "" {
			fmt.Fprintf(stderr, "mailproxyctl: %s: %s\n", p.Program, p.Error)
			status = exitSystem
		}
	}
	if err != nil {
		fmt.Fprintf(stderr, "mailproxyctl: %s\n", shown(err.Error()))
		return exitSystem
	}
	if c.command != "stats" {
		fmt.Fprintln(stderr, "mailproxyctl: sessions that a process of their own carries are not seen here "+
			"(a process for each connection, and no relayd)")
	}
	return status
}

// commands are the functions that ask, and write to the screen what there is to see. Their error means that
// there is nothing.
func (c *config) commands() map[string]func(context.Context, screen) ([]program, error) {
	return map[string]func(context.Context, screen) ([]program, error){
		"who": c.who, "kick": c.kick, "stats": c.stats, "mailhosts": c.mailhosts,
	}
}

// parse reads the command line. Options may stand before and after the command.
func parse(args []string, stderr io.Writer) (*config, error) {
	c := &config{}
	f := flag.NewFlagSet("mailproxyctl", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.Usage = func() {}
	f.BoolVar(&c.json, "json", false, "")
	f.DurationVar(&c.timeout, "timeout", 10*time.Second, "")
	users := f.String("user", defaultUsers, "")
	f.Func("socket", "", func(value string) error {
		s, err := parseSource(value)
		c.sources = append(c.sources, s)
		return err
	})
	var words []string
	for len(args) > 0 {
		if err := f.Parse(args); err != nil {
			fmt.Fprint(stderr, usage)
			return nil, err
		}
		args = f.Args()
		if len(args) > 0 {
			words, args = append(words, args[0]), args[1:]
		}
		if len(words) > 2 {
			break
		}
	}
	c.users = peercred.Names(*users)
	if len(c.sources) == 0 {
		c.sources = defaultSources()
	}
	want := 1
	if len(words) > 0 {
		c.command = words[0]
	}
	if c.command == "kick" {
		want = 2
		if len(words) > 1 {
			c.whom = words[1]
		}
	}
	_, known := c.commands()[c.command]
	switch {
	case c.command == "":
		fmt.Fprint(stderr, usage)
		return nil, errors.New("which command?")
	case !known && c.command != "version":
		return nil, fmt.Errorf("unknown command %q", c.command)
	case want == 2 && (len(words) != 2 || c.whom == ""):
		return nil, errors.New("kick whom? A user or an address")
	case len(words) != want:
		return nil, fmt.Errorf("too many arguments: %q", words[want:])
	case c.timeout <= 0:
		return nil, errors.New("-timeout must be more than 0")
	}
	kick := handoff.Message{Verb: handoff.Kick, Fields: map[string]string{"WHOM": c.whom}}
	if _, err := kick.Encode(); err != nil {
		return nil, errors.New("kick whom? That is no user's name")
	}
	return c, nil
}

// terminalWidth is the width of a terminal; 80 for anything else.
func terminalWidth(f *os.File) int {
	size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil || size.Col < 20 {
		return 80
	}
	return int(size.Col)
}
