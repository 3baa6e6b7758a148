package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"mailproxy/relay/handoff"
)

// session is one of some program's. Its texts can be shown.
type session struct {
	User         string    `json:"user"`
	IP           string    `json:"ip"`
	Port         string    `json:"port"`
	Protocol     string    `json:"protocol"`
	Mailhost     string    `json:"mailhost"`
	Start        time.Time `json:"start"`
	FromClient   int64     `json:"client_bytes"`
	FromMailhost int64     `json:"mailhost_bytes"`
	Program      string    `json:"program"`
}

// parseSessions reads the answers to Who, the oldest sessions first.
func parseSessions(programs []program) []session {
	all := []session{}
	for i := range programs {
		p := &programs[i]
		var of []session
		var err error
		for line := range strings.Lines(p.text) {
			var l handoff.Listed
			if l, err = handoff.ParseListed(strings.TrimSuffix(line, "\n")); err != nil {
				break
			}
			of = append(of, session{
				User: shown(l.User), IP: shown(strings.TrimPrefix(l.RemoteIP, "::ffff:")), Port: shown(l.RemotePort),
				Protocol: shown(l.Protocol), Mailhost: shown(l.Mailhost), Start: l.Start,
				FromClient: l.FromClient, FromMailhost: l.FromMailhost, Program: p.Program,
			})
		}
		if err != nil {
			p.reject(err)
			continue
		}
		all = append(all, of...)
	}
	slices.SortStableFunc(all, func(a, b session) int {
		return cmp.Or(a.Start.Compare(b.Start), cmp.Compare(a.User, b.User))
	})
	return all
}

// who lists the sessions.
func (c *config) who(ctx context.Context, s screen) ([]program, error) {
	programs, err := c.ask(ctx, &handoff.Message{Verb: handoff.Who})
	if err != nil {
		return programs, err
	}
	sessions := parseSessions(programs)
	if err := anybody(programs); err != nil {
		return programs, err
	}
	if s.json {
		return programs, s.writeJSON(struct {
			Sessions []session `json:"sessions"`
			Programs []program `json:"programs"`
		}{sessions, programs})
	}
	t := table{columns: []column{{name: "USER"}, {name: "CLIENT"}, {name: "PROTO"}, {name: "MAILHOST"},
		{"AGE", true}, {"IN", true}, {"OUT", true}, {name: "PROGRAM"}}}
	for _, x := range sessions {
		client := x.IP + ":" + x.Port
		if strings.Contains(x.IP, ":") {
			client = "[" + x.IP + "]:" + x.Port
		}
		t.add(x.User, client, x.Protocol, x.Mailhost, age(s.now.Sub(x.Start)), size(x.FromClient),
			size(x.FromMailhost), x.Program)
	}
	t.write(s.w, s.width)
	return programs, nil
}

// kicked is a program's answer to Kick.
type kicked struct {
	program
	Kicked int `json:"kicked"`
}

// kick ends sessions and says how many.
func (c *config) kick(ctx context.Context, s screen) ([]program, error) {
	programs, err := c.ask(ctx, &handoff.Message{Verb: handoff.Kick, Fields: map[string]string{"WHOM": c.whom}})
	if err != nil {
		return programs, err
	}
	sum := 0
	answers := make([]kicked, len(programs))
	for i := range programs {
		p := &programs[i]
		n := 0
		if p.Answered {
			var err error
			if n, err = strconv.Atoi(strings.TrimSuffix(p.text, "\n")); err != nil || n < 0 {
				p.reject(fmt.Errorf("the answer is no number of sessions"))
				n = 0
			}
		}
		sum += n
		answers[i] = kicked{*p, n}
	}
	if err := anybody(programs); err != nil {
		return programs, err
	}
	if s.json {
		return programs, s.writeJSON(struct {
			Kicked   int      `json:"kicked"`
			Programs []kicked `json:"programs"`
		}{sum, answers})
	}
	fmt.Fprintln(s.w, sum)
	return programs, nil
}
