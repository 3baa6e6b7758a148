// Package rcfile reads Courier's authmysqlrc, authpgsqlrc and authldaprc: lines of a name, blanks and a
// value. It also reads such a file again when it has changed: see [Watcher].
package rcfile

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"mailproxy/internal/spelling"
)

// marker begins the line that tells a whole file from one that was cut short or missed an upgrade.
const marker = "##NAME: MARKER:"

// errNoMarker says that the end marker is missing.
var errNoMarker = errors.New(
	`no line begins with "` + marker + `": the file is cut short or was not upgraded`,
)

// Settings are the settings of one file.
type Settings struct {
	values map[string]string
	lines  map[string]int
}

// Get returns the value of a setting, "" when there is none.
func (s *Settings) Get(name string) string { return s.values[name] }

// First returns the value of the first of these settings that has one.
func (s *Settings) First(names ...string) string {
	for _, name := range names {
		if v := s.values[name]; v != "" {
			return v
		}
	}
	return ""
}

// Default returns the value of a setting, def when it is not set or empty.
func (s *Settings) Default(name, def string) string {
	if v := s.values[name]; v != "" {
		return v
	}
	return def
}

// Number returns a decimal number that is not negative; 0 when it is not set or empty.
func (s *Settings) Number(name string) (int, error) {
	value := s.values[name]
	if value == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(value, 10, 31)
	if err != nil {
		return 0, s.Wrong(name, fmt.Errorf("%.40q is not a number", value))
	}
	return int(n), nil
}

// Switch returns a setting as [spelling.ParseSwitch] reads it; off when it is not set or empty.
func (s *Settings) Switch(name string) (bool, error) {
	value := s.values[name]
	if value == "" {
		return false, nil
	}
	on, ok := spelling.ParseSwitch(value)
	if !ok {
		return false, s.Wrong(name, fmt.Errorf("%.40q: must be yes, no, true, false, on, off, 1 or 0", value))
	}
	return on, nil
}

// Wrong returns err, which is about a setting's value, with its name in front, and its line for the log.
func (s *Settings) Wrong(name string, err error) error {
	return &valueError{s.lines[name], fmt.Errorf("%s: %w", name, err)}
}

// valueError is an error about what stands in a line.
type valueError struct {
	line int
	error
}

func (e *valueError) Unwrap() error { return e.error }

// misspelt returns a sentence, beginning with the line number, for each name that is not in known but similar
// to one that is.
func (s *Settings) misspelt(known []string) (sentences []string) {
	names := slices.SortedFunc(maps.Keys(s.lines), func(a, b string) int { return s.lines[a] - s.lines[b] })
	for _, name := range names {
		if near := spelling.Nearest(name, known); near != "" {
			text := fmt.Sprintf("%d: %s is not a setting: is %s meant?", s.lines[name], name, near)
			sentences = append(sentences, text)
		}
	}
	return sentences
}

// Parse reads the text of a file. A line is a name, blanks, and a value that ends before the line's trailing
// blanks; a value ending in a backslash goes on in the next line, joined by one blank, the next line's
// leading blanks dropped. Of two settings of a name the first counts. Lines that begin with # are comments;
// the end marker must stand in column 0 of one of them. LF and CRLF end a line.
func Parse(text string) (*Settings, error) {
	s := &Settings{values: make(map[string]string), lines: make(map[string]int)}
	marked := false
	next := 1
	cut := func() (line string) {
		line, text = cutLine(text)
		next++
		return line
	}
	for text != "" {
		number := next
		line := cut()
		if strings.HasPrefix(line, marker) {
			marked = true
		}
		line = strings.TrimLeft(line, blanks)
		if line == "" || line[0] == '#' {
			continue
		}
		for strings.HasSuffix(line, `\`) {
			line = strings.TrimRight(line[:len(line)-1], blanks)
			if text == "" {
				break
			}
			line += " " + strings.TrimLeft(cut(), blanks)
		}
		line = strings.TrimLeft(line, blanks)
		if line == "" || line[0] == '#' { // began with nothing but a continuation
			continue
		}
		name, value := line, ""
		if i := strings.IndexAny(line, blanks); i >= 0 {
			name, value = line[:i], strings.Trim(line[i:], blanks)
		}
		if _, known := s.values[name]; !known {
			s.values[name], s.lines[name] = value, number
		}
	}
	if !marked {
		return nil, errNoMarker
	}
	return s, nil
}

const blanks = " \t\r\v\f"

// cutLine returns the first line of text without its end and without trailing blanks, and what follows it.
func cutLine(text string) (line, rest string) {
	line, rest, _ = strings.Cut(text, "\n")
	return strings.TrimRight(line, blanks), rest
}
