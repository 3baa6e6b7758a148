package main

import (
	"errors"
	"math"
	"strconv"
	"strings"
)

// sample is one number of Prometheus' text format.
type sample struct {
	Name   string            `json:"name"`
	Labels map[string]string `json:"labels,omitempty"`
	Value  float64           `json:"value"`

	values []string // of the labels, in their order
}

var errSample = errors.New("the answer is not in Prometheus' text format")

// maxSamples of one program are read.
const maxSamples = 200_000

// parseSamples reads what a program counts. Label values can be shown.
func parseSamples(text string) (all []sample, err error) {
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if line == "" || line[0] == '#' {
			continue
		}
		s, err := parseSample(line)
		if err != nil || len(all) == maxSamples {
			return nil, errSample
		}
		all = append(all, s)
	}
	return all, nil
}

// parseSample reads NAME{LABEL="VALUE",...} NUMBER; a time after it is an error.
func parseSample(line string) (sample, error) {
	n := nameLength(line)
	s, rest := sample{Name: line[:n]}, line[n:]
	if n == 0 {
		return s, errSample
	}
	if labels, ok := strings.CutPrefix(rest, "{"); ok {
		s.Labels, rest = map[string]string{}, labels
		for !strings.HasPrefix(rest, "}") {
			n := nameLength(rest)
			name := rest[:n]
			quoted, err := strconv.QuotedPrefix(strings.TrimPrefix(rest[n:], "="))
			if _, twice := s.Labels[name]; twice || n == 0 || err != nil || rest[n] != '=' || quoted[0] != '"' {
				return s, errSample
			}
			value, err := strconv.Unquote(quoted)
			if err != nil {
				return s, errSample
			}
			s.Labels[name] = shown(value)
			s.values = append(s.values, shown(value))
			rest = rest[n+1+len(quoted):]
			if more, comma := strings.CutPrefix(rest, ","); comma {
				rest = more
			} else if !strings.HasPrefix(rest, "}") {
				return s, errSample
			}
		}
		rest = rest[1:]
	}
	number, ok := strings.CutPrefix(rest, " ")
	v, err := strconv.ParseFloat(number, 64)
	if !ok || err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
		return s, errSample
	}
	s.Value = v
	return s, nil
}

// nameLength is the length of the name that a line begins with.
func nameLength(line string) int {
	for i, c := range []byte(line) {
		letter := c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return i
		}
	}
	return len(line)
}

// answers are the samples of each program.
type answers struct {
	programs []program
	samples  [][]sample // by program
}

// parseAnswers reads the answers to Stats.
func parseAnswers(programs []program) answers {
	a := answers{programs, make([][]sample, len(programs))}
	for i := range programs {
		if !programs[i].Answered {
			continue
		}
		var err error
		if a.samples[i], err = parseSamples(programs[i].text); err != nil {
			programs[i].reject(err)
		}
	}
	return a
}
