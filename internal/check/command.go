package check

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"

	"mailproxy/internal/config"
	"mailproxy/internal/frontend"
	"mailproxy/internal/maillog"
)

// Command is the subcommand "check" of a front end: check [-config FILE]... [-server NAME]... [--json]
// [--capabilities | USER]. Exit status 0: logins work as far as can be seen, maybe with warnings; 1: nobody,
// or this user, can log in; 100: wrong usage.
func Command(
	ctx context.Context,
	p *frontend.Program,
	args, environ []string,
	stdin, stdout, stderr *os.File,
) int {
	var configs []string
	flags := flag.NewFlagSet(p.Name+" check", flag.ContinueOnError)
	flags.SetOutput(stderr)
	asJSON := flags.Bool("json", false, "one JSON object a line")
	all := flags.Bool("capabilities", false, "ask all mailhosts of all accounts what they can do")
	var servers []string
	flags.Func(
		"server",
		"the `name` that clients connect to, for which a certificate must be good; may be repeated",
		func(name string) error {
			servers = append(servers, name)
			return nil
		},
	)
	flags.Func("config", "read settings from `FILE`; may be repeated", func(name string) error {
		configs = append(configs, name)
		return nil
	})
	flags.Usage = func() {
		fmt.Fprintf(
			stderr,
			"usage: %s check [-config FILE]... [-server NAME]... [--json] [--capabilities | USER]\n",
			p.Name,
		)
		flags.PrintDefaults()
	}
	if err := flags.Parse(args); err != nil || flags.NArg() > 1 || *all && flags.NArg() > 0 {
		if err == nil {
			flags.Usage()
		}
		if errors.Is(err, flag.ErrHelp) {
			return 0
		}
		return 100
	}
	report := &report{out: stdout, json: *asJSON, color: !*asJSON && isTerminal(stdout)}
	c := &check{
		report: report, program: p.Name, user: flags.Arg(0), files: configs, servers: servers,
		all:      *all,
		password: askPassword(stdin, stderr),
	}
	loaded, err := config.Load(configs, environ, config.Protocol(p.Protocol.Name))
	if err != nil {
		c.settingsError = err
		return c.run(ctx)
	}
	c.raw = loaded.Raw()
	// Warnings of the steps themselves are part of the report.
	log := maillog.NewLog(logLines{report, "settings"})
	server, err := p.Inspect(loaded, log)
	if err != nil {
		c.settingsError = err
		return c.run(ctx)
	}
	silent, err := p.Inspect(loaded, maillog.NewSilentLog())
	if err != nil {
		c.settingsError = err
		return c.run(ctx)
	}
	c.server, c.silent = server, silent
	return c.run(ctx)
}

// logLines makes steps of log lines.
type logLines struct {
	report *report
	topic  string
}

func (l logLines) Write(line []byte) (int, error) {
	level, text, _ := strings.Cut(strings.TrimSuffix(string(line), "\n"), ": ")
	switch level {
	case "ERR", "CRIT":
		l.report.fail(l.topic, "%s", text)
	case "WARN":
		l.report.warn(l.topic, "%s", text)
	}
	return len(line), nil
}
