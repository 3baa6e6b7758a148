package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os/user"
	"runtime"
	"slices"
	"time"

	"mailproxy/internal/identity"
	"mailproxy/internal/peercred"
	"mailproxy/relay"
)

// config is everything relayd can be told.
type config struct {
	program    string        // our own file
	args       []string      // as started, for a reload
	environ    []string      // for a reload
	command    string        // "", "who", "kick", "stats", "version"
	whom       string        // kick: a user or an address
	socket     string        // where front ends come to
	metrics    string        // unix:PATH or HOST:PORT; "" = none
	user       string        // to become when started as root; "" and "root" = stay
	allow      *peercred.Set // users and groups who may use the socket
	max        int           // sessions; 0 = as many as file descriptors allow
	maxPerIP   int           // sessions of one client address; 0 = any number
	maxPerUser int           // sessions of one user; 0 = any number
	old        []string      // options given that no longer mean anything
	loops      int           // threads
	linger     time.Duration // how long the old process keeps what a reload could not pass on
}

const usage = `usage: relayd [-socket PATH] [-user NAME] [-allow NAME,@GROUP,...]
              [-max N] [-maxperip N] [-maxperuser N]
              [-metrics unix:PATH|HOST:PORT] [-loops N] [-linger DURATION] [-options FILE]
       relayd [-socket PATH] who | kick USER|IP | stats
       relayd version
`

// parse reads the command line.
func parse(args []string, stderr io.Writer) (*config, error) {
	c := &config{args: slices.Clone(args)}
	var allow string
	f := flag.NewFlagSet("relayd", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.Usage = func() { fmt.Fprint(stderr, usage) }
	f.StringVar(&c.socket, "socket", relay.DefaultSocket, "")
	f.StringVar(&c.metrics, "metrics", "", "")
	f.StringVar(&c.user, "user", "", "")
	f.StringVar(&allow, "allow", "", "")
	f.IntVar(&c.max, "max", 0, "")
	f.IntVar(&c.maxPerIP, "maxperip", 0, "")
	f.IntVar(&c.maxPerUser, "maxperuser", 0, "")
	for _, name := range []string{"tls", "maxlogins"} { // of the time when relayd made TLS handshakes
		f.Func(name, "", func(string) error { c.old = append(c.old, "-"+name); return nil })
	}
	f.IntVar(&c.loops, "loops", runtime.NumCPU(), "")
	f.DurationVar(&c.linger, "linger", 24*time.Hour, "")
	options := f.String("options", "", "")
	if err := f.Parse(args[1:]); err != nil {
		return nil, err
	}
	rest := f.Args()
	if len(rest) == 0 && *options != "" {
		more, err := optionsFrom(*options)
		if err != nil {
			return nil, err
		}
		file := *options
		if err := f.Parse(more); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		if f.NArg() > 0 || *options != file {
			return nil, fmt.Errorf("%s: options only, and not that of another file: %q", file, more)
		}
	}
	if len(rest) > 0 {
		c.command, rest = rest[0], rest[1:]
	}
	switch c.command {
	case "", "who", "stats", "version":
	case "kick":
		if len(rest) != 1 || rest[0] == "" {
			return nil, errors.New("kick whom? A user or an address")
		}
		c.whom, rest = rest[0], nil
	default:
		return nil, fmt.Errorf("unknown command %q", c.command)
	}
	if len(rest) > 0 {
		return nil, fmt.Errorf("too many arguments: %q", rest)
	}
	if c.max < 0 || c.maxPerIP < 0 || c.maxPerUser < 0 || c.loops < 1 || c.loops > 1024 || c.linger < 0 {
		return nil, errors.New("a number is out of range")
	}
	if c.user == "root" {
		c.user = ""
	}
	if c.command != "" {
		return c, nil
	}
	return c, c.allowed(allow)
}

// allowed resolves who may use the socket: root, the service's own user, and the users and @groups named.
func (c *config) allowed(names string) error {
	list := peercred.Names(names)
	if c.user != "" {
		list = append(list, c.user)
	}
	var err error
	c.allow, err = peercred.NewSet(list...)
	return err
}

// lookup returns a user who may run the service, by name or number.
func lookup(name string) (*identity.User, error) {
	if u, err := user.LookupId(name); err == nil {
		name = u.Username
	}
	id, err := identity.Ordinary(name)
	if err != nil {
		return nil, fmt.Errorf("-user %s: %w", name, err)
	}
	return id, nil
}
