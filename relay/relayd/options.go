package main

import (
	"errors"
	"io/fs"
	"os"
	"strings"
)

// optionsName is the setting in the file of -options, which is like an environment file of systemd:
// NAME="value" lines without expansions, and comments. Of several the last counts.
const optionsName = "RELAYD_OPTIONS="

// optionsFrom reads options, separated by blanks, from a file; a file that is not there has none. Each
// start reads it, so that a restart by SIGHUP has the new ones.
func optionsFrom(path string) ([]string, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var options []string
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), optionsName); ok {
			if n := len(value); n > 1 && value[0] == value[n-1] && strings.ContainsAny(value[:1], `"'`) {
				value = value[1 : n-1]
			}
			options = strings.Fields(value)
		}
	}
	return options, err
}
