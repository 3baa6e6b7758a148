package main

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"

	"mailproxy/relay/handoff"
)

// labelled is a sample of a program.
type labelled struct {
	sample
	Program string `json:"program"`
}

// stats shows what the programs count, a column for each. Sums are left to Prometheus: not every number can
// be added.
func (c *config) stats(ctx context.Context, s screen) ([]program, error) {
	programs, err := c.ask(ctx, &handoff.Message{Verb: handoff.Stats})
	if err != nil {
		return programs, err
	}
	a := parseAnswers(programs)
	if err := anybody(programs); err != nil {
		return programs, err
	}
	if s.json {
		all := []labelled{}
		for i, samples := range a.samples {
			for _, x := range samples {
				all = append(all, labelled{x, programs[i].Program})
			}
		}
		return programs, s.writeJSON(struct {
			Samples  []labelled `json:"samples"`
			Programs []program  `json:"programs"`
		}{all, programs})
	}
	a.table().write(s.w, s.width)
	return programs, nil
}

// table has a row for each sample, except the buckets of histograms and those of relayd's older names for
// which there is a name that all programs share.
func (a answers) table() *table {
	const prefix, before = "mailproxy_", "mailproxy_relayd_"
	t := &table{columns: []column{{name: "METRIC"}}}
	values := map[string]map[int]string{}
	columns := 0
	for i, p := range a.programs {
		if !p.Answered {
			continue
		}
		t.columns = append(t.columns, column{p.Program, true})
		names := map[string]bool{}
		for _, x := range a.samples[i] {
			names[x.Name] = true
		}
		for _, x := range a.samples[i] {
			own, old := strings.CutPrefix(x.Name, before)
			if strings.HasSuffix(x.Name, "_bucket") || old && names[prefix+own] {
				continue
			}
			row := strings.TrimPrefix(x.Name, prefix) + x.labelText()
			if values[row] == nil {
				values[row] = map[int]string{}
			}
			values[row][columns] = strconv.FormatFloat(x.Value, 'f', -1, 64)
		}
		columns++
	}
	for _, row := range slices.Sorted(maps.Keys(values)) {
		cells := []string{row}
		for i := range columns {
			cells = append(cells, values[row][i])
		}
		t.add(cells...)
	}
	return t
}

// labelText is the values of the labels, in their order.
func (s sample) labelText() string {
	if len(s.values) == 0 {
		return ""
	}
	shown := make([]string, len(s.values))
	for i, v := range s.values {
		if shown[i] = v; v == "" {
			shown[i] = "-"
		}
	}
	return "{" + strings.Join(shown, ",") + "}"
}
