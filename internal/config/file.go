package config

import (
	"errors"
	"fmt"
	"strings"

	"mailproxy/internal/shellfile"
)

// maxFileErrors is how many lines of one file are named that are not understood: more say that it is some
// other file.
const maxFileErrors = 20

// parseFile reads the text of one configuration file into raw. It takes what Courier's imapd, imapd-ssl,
// pop3d and pop3d-ssl hold, a small part of the shell's language: see [shellfile.Assignment]. $NAME is the
// environment's value, else what raw holds by then, else nothing. Anything else is an error that names file
// and line, rather than a setting that is not in force; the other lines are read all the same.
func parseFile(file, text string, environment, raw Raw) error {
	lookup := func(name string) string {
		if value, ok := environment[name]; ok {
			return value.Text
		}
		return raw[name].Text
	}
	var errs []error
	for i, line := range strings.Split(text, "\n") {
		name, value, err := shellfile.Assignment(line, lookup)
		switch {
		case err == nil && name != "":
			raw[name] = Value{Text: value, File: file, Line: i + 1}
		case err != nil && len(errs) == maxFileErrors:
			return errors.Join(append(errs, fmt.Errorf("%s: more lines are not understood", file))...)
		case err != nil:
			errs = append(errs, fmt.Errorf("%s:%d: %w", file, i+1, err))
		}
		if err == shellfile.ErrCRLF {
			break
		}
	}
	return joinErrors(errs)
}

// joinErrors is errors.Join, but leaves a single error as it is.
func joinErrors(errs []error) error {
	if len(errs) == 1 {
		return errs[0]
	}
	return errors.Join(errs...)
}
