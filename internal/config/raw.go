package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"mailproxy/internal/smallfile"
)

// Value is what a setting is set to, and where.
type Value struct {
	Text string
	// File and Line are where a configuration file says so; no File: the environment does.
	File string
	Line int
}

// source names the place for an administrator: "FILE:LINE" or "environment".
func (v Value) source() string {
	if v.File == "" {
		return "environment"
	}
	return fmt.Sprintf("%s:%d", v.File, v.Line)
}

// Raw is the environment and the configuration files in one, by name and unparsed: for the local server's
// environment, and for the launcher's variables about the connection. A name that is set to nothing is in the
// map.
type Raw map[string]Value

// Environment returns what an environment such as os.Environ's holds. Of two entries with one name the first
// counts, as it does for C's getenv. Entries without "=" or without a name are ignored.
func Environment(environ []string) Raw {
	r := make(Raw, len(environ))
	for _, entry := range environ {
		name, value, ok := strings.Cut(entry, "=")
		if _, twice := r[name]; !ok || name == "" || twice {
			continue
		}
		r[name] = Value{Text: value}
	}
	return r
}

// Get returns the text of a setting, "" when it is not set.
func (r Raw) Get(name string) string { return r[name].Text }

// Lookup returns the text of a setting and whether it is set at all.
func (r Raw) Lookup(name string) (string, bool) {
	value, ok := r[name]
	return value.Text, ok
}

// Texts returns the settings without where they come from.
func (r Raw) Texts() map[string]string {
	texts := make(map[string]string, len(r))
	for name, value := range r {
		texts[name] = value.Text
	}
	return texts
}

// environ returns the settings as an environment for another program, sorted by name.
func (r Raw) environ() []string {
	environ := make([]string, 0, len(r))
	for name, value := range r {
		environ = append(environ, name+"="+value.Text)
	}
	slices.Sort(environ)
	return environ
}

// maxFile bounds a configuration file, in bytes.
const maxFile = 1 << 20

// readAll reads configuration files in order, and the environment.
//
// A setting of the environment wins over every file, also where a file uses it as $NAME: couriertcpd's start
// script has sourced the same files before it exported them, and what an administrator adds to a unit file or
// to an access file is meant for this service alone. Among files the later one wins, as if a shell had
// sourced them one after the other.
//
// The error names every file that cannot be read and every line that is not understood; what was understood
// is returned beside it, so that it can be judged, too.
func readAll(files, environ []string) (Raw, error) {
	environment := Environment(environ)
	raw := make(Raw, len(environment))
	var errs []error
	for _, name := range files {
		text, _, err := smallfile.Read(name, maxFile)
		if err == nil {
			err = parseFile(name, string(text), environment, raw)
		}
		errs = append(errs, err)
	}
	maps.Copy(raw, environment)
	return raw, joinErrors(errs)
}
