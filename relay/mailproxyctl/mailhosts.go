package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"mailproxy/relay/handoff"
)

// mailhost is a name that accounts have as their mailhost, over all programs.
type mailhost struct {
	Name     string           `json:"mailhost"`
	Sessions int              `json:"sessions"`
	Logins   map[string]int64 `json:"logins"`   // by result
	Failures map[string]int64 `json:"failures"` // by step
}

// address is one that logins go to, as one program sees it.
type address struct {
	Mailhost   string     `json:"mailhost"`
	Address    string     `json:"address"`
	State      string     `json:"state"`
	Since      *time.Time `json:"since,omitempty"`
	UnderWay   int64      `json:"logins_under_way"`
	Waiting    int64      `json:"logins_waiting"`
	TurnedAway int64      `json:"logins_turned_away"`
	Program    string     `json:"program"`
}

// The states of an address.
const (
	stateUp   = "up"
	stateDown = "down"
)

// mailhosts shows sessions and logins by mailhost, and the health of their addresses.
func (c *config) mailhosts(ctx context.Context, s screen) ([]program, error) {
	programs, err := c.ask(ctx, &handoff.Message{Verb: handoff.Stats})
	if err != nil {
		return programs, err
	}
	listed, err := c.ask(ctx, &handoff.Message{Verb: handoff.Who})
	if err != nil {
		return programs, err
	}
	a, sessions := parseAnswers(programs), parseSessions(listed)
	for i := range programs {
		if programs[i].Answered && listed[i].Error != "" {
			programs[i].reject(fmt.Errorf("%s", listed[i].Error))
		}
	}
	if err := anybody(programs); err != nil {
		return programs, err
	}
	hosts, addresses := a.mailhosts(sessions), a.addresses()
	if s.json {
		return programs, s.writeJSON(struct {
			Mailhosts []*mailhost `json:"mailhosts"`
			Addresses []address   `json:"addresses"`
			Programs  []program   `json:"programs"`
		}{hosts, addresses, programs})
	}
	t := table{columns: []column{{name: "MAILHOST"}, {"SESSIONS", true}, {"LOGINS", true}, {"REFUSED", true},
		{"TEMPORARY", true}, {"FAILURES", true}}}
	for _, h := range hosts {
		var failures int64
		for _, n := range h.Failures {
			failures += n
		}
		t.add(h.Name, strconv.Itoa(h.Sessions), count(h.Logins["ok"]), count(h.Logins["refused"]),
			count(h.Logins["temporary"]), count(failures))
	}
	t.write(s.w, s.width)
	if len(addresses) == 0 {
		return programs, nil
	}
	fmt.Fprintln(s.w)
	t = table{columns: []column{{name: "MAILHOST"}, {name: "ADDRESS"}, {name: "STATE"}, {"FOR", true},
		{"LOGINS", true}, {"WAITING", true}, {"TURNED", true}, {name: "PROGRAM"}}}
	for _, x := range addresses {
		since := ""
		if x.Since != nil {
			since = age(s.now.Sub(*x.Since))
		}
		t.add(x.Mailhost, x.Address, x.State, since, count(x.UnderWay), count(x.Waiting),
			count(x.TurnedAway), x.Program)
	}
	t.write(s.w, s.width)
	return programs, nil
}

func count(n int64) string { return strconv.FormatInt(n, 10) }

// mailhosts adds up what is known by name. Logins at no mailhost are left out.
func (a answers) mailhosts(sessions []session) []*mailhost {
	hosts := map[string]*mailhost{}
	of := func(name string) *mailhost {
		if hosts[name] == nil {
			hosts[name] = &mailhost{Name: name, Logins: map[string]int64{}, Failures: map[string]int64{}}
		}
		return hosts[name]
	}
	for _, x := range sessions {
		of(strings.ToLower(strings.TrimSuffix(x.Mailhost, "."))).Sessions++
	}
	for _, samples := range a.samples {
		for _, x := range samples {
			switch name := x.Labels["mailhost"]; {
			case name == "":
			case x.Name == "mailproxy_logins_total":
				of(name).Logins[x.Labels["result"]] += int64(x.Value)
			case x.Name == "mailproxy_mailhost_failures_total":
				of(name).Failures[x.Labels["step"]] += int64(x.Value)
			}
		}
	}
	list := []*mailhost{}
	for _, name := range slices.Sorted(maps.Keys(hosts)) {
		list = append(list, hosts[name])
	}
	return list
}

// addresses are those that the programs list: at which logins are under way, or have failed.
func (a answers) addresses() []address {
	list := []address{}
	for i, samples := range a.samples {
		of := map[string]*address{}
		for _, x := range samples {
			kind, isAddress := strings.CutPrefix(x.Name, "mailproxy_mailhost_address_")
			name := x.Labels["address"]
			if !isAddress || name == "" {
				continue
			}
			key := x.Labels["mailhost"] + " " + name
			if of[key] == nil {
				of[key] = &address{Mailhost: x.Labels["mailhost"], Address: name, State: stateUp,
					Program: a.programs[i].Program}
			}
			of[key].note(kind, x.Value)
		}
		for _, x := range of {
			list = append(list, *x)
		}
	}
	slices.SortFunc(list, func(a, b address) int {
		return cmp.Or(cmp.Compare(a.State, b.State), cmp.Compare(a.Mailhost, b.Mailhost),
			cmp.Compare(a.Address, b.Address), cmp.Compare(a.Program, b.Program))
	})
	return list
}

func (x *address) note(kind string, value float64) {
	n := int64(value)
	switch kind {
	case "down":
		if n != 0 {
			x.State = stateDown
		}
	case "down_since_seconds":
		if n > 0 {
			since := time.Unix(n, 0).UTC()
			x.Since = &since
		}
	case "logins":
		x.UnderWay = n
	case "waiting":
		x.Waiting = n
	case "turned_away":
		x.TurnedAway = n
	}
}
