package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"mailproxy/internal/spelling"
)

// optionsName is the setting in the file of -options, which is like an environment file of systemd:
// NAME="value" lines without expansions, and comments. Of several the last counts.
const optionsName = "RELAYD_OPTIONS"

// optionsFrom reads options, separated by blanks, from a file; a file that is not there has none. Each
// start reads it, so that a reload has the new ones. A line that is not understood, or whose name
// nearly is that of the setting, is an error: a limit that was written there would not hold.
func optionsFrom(path string) ([]string, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var options []string
	number := 0
	for line := range strings.Lines(string(text)) {
		number++
		line = strings.TrimSpace(line)
		name, value, ok := strings.Cut(line, "=")
		switch {
		case line == "" || line[0] == '#':
		case !ok || strings.ContainsAny(name, " \t") || spelling.Nearest(name, []string{optionsName}) != "":
			return nil, fmt.Errorf(`%s:%d: only %s="OPTIONS" is understood here`, path, number, optionsName)
		case name == optionsName:
			if n := len(value); n > 1 && value[0] == value[n-1] && strings.ContainsAny(value[:1], `"'`) {
				value = value[1 : n-1]
			}
			options = strings.Fields(value)
		}
	}
	return options, err
}
