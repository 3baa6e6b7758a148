package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"mailproxy/authlib"
)

// Defaults of authdaemonrc.
const (
	defaultModules = "authuserdb"
	defaultDaemons = 5
	defaultVar     = "/run/courier/authdaemon"
)

// maxDaemons bounds a slip of the pen.
const maxDaemons = 1000

// maxRC is how much of an authdaemonrc is read, in bytes.
const maxRC = 1 << 20

// settings is what authdaemonrc says.
type settings struct {
	// modules in the order in which they are asked (authmodulelist).
	modules []string
	// daemons is the number of workers that Courier would start; here it scales the limits, see slotsPerDaemon.
	daemons int
	// folder of the socket (authdaemonvar).
	folder string
	// debug is DEBUG_LOGIN: 1 = steps, 2 = passwords too.
	debug int
	// defaults are merged under the options of each account (DEFAULTOPTIONS).
	defaults authlib.Options
	// cacheTTL is how long a successful answer may be repeated without asking (AUTH_CACHE_TTL, seconds); 0 = not
	// at all.
	cacheTTL time.Duration
	// metrics is where counters are served (AUTH_METRICS): a path, or a loopback address and port; empty =
	// nowhere.
	metrics string
	// ldapTLS are the LDAPTLS_ settings.
	ldapTLS map[string]string
	// warnings name lines that are not understood.
	warnings []string
}

// readRC reads authdaemonrc in a folder. A file that is not there stands for the defaults.
func readRC(folder string) (*settings, error) {
	path := filepath.Join(folder, "authdaemonrc")
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return parseRC(path, "")
	}
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxRC {
		return nil, fmt.Errorf("%s: not a regular file of a sensible size", path)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return parseRC(path, string(text))
}

// parseRC parses the text of an authdaemonrc: NAME=value or NAME="value", one a line, # comments. Of two
// settings of a name the last counts. A value that cannot be used is an error that names line and setting.
func parseRC(path, text string) (*settings, error) {
	s := &settings{daemons: defaultDaemons, folder: defaultVar, ldapTLS: make(map[string]string)}
	modules := defaultModules
	number := 0
	for line := range strings.Lines(text) {
		number++
		line = strings.TrimRight(line, " \t\r\n")
		if line == "" || line[0] == '#' {
			continue
		}
		name, value, ok := assignment(line)
		if !ok {
			s.warnings = append(s.warnings, fmt.Sprintf("%s:%d: not NAME=value, ignored", path, number))
			continue
		}
		var err error
		switch name {
		case "authmodulelist":
			modules = value
		case "daemons":
			s.daemons, err = count(value, 1, maxDaemons)
		case "authdaemonvar":
			s.folder = value
			if !filepath.IsAbs(value) {
				err = errors.New("not an absolute path")
			}
		case "DEBUG_LOGIN":
			s.debug = authlib.Atoi(value)
		case "DEFAULTOPTIONS":
			s.defaults = authlib.Options(value)
			if authlib.HasControl(value) {
				err = errors.New("control character")
			}
		case "AUTH_CACHE_TTL":
			var n int
			n, err = count(value, 0, 24*3600)
			s.cacheTTL = time.Duration(n) * time.Second
		case "AUTH_METRICS":
			s.metrics = value
		default:
			if strings.HasPrefix(name, "LDAPTLS_") {
				s.ldapTLS[name] = value
			}
		}
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %s: %w", path, number, name, err)
		}
	}
	seen := make(map[string]bool)
	for _, m := range strings.Fields(modules) {
		if !seen[m] {
			seen[m] = true
			s.modules = append(s.modules, m)
		}
	}
	return s, nil
}

// assignment splits NAME=value and takes the quotes off.
func assignment(line string) (name, value string, ok bool) {
	name, value, ok = strings.Cut(line, "=")
	if !ok || name == "" || strings.ContainsAny(name, " \t\"'$") {
		return "", "", false
	}
	if n := len(value); n >= 2 && (value[0] == '"' || value[0] == '\'') && value[n-1] == value[0] {
		value = value[1 : n-1]
	}
	return name, value, true
}

// count parses a number within bounds.
func count(s string, least, most int) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n < least || n > most {
		return 0, fmt.Errorf("%q is not a number from %d to %d", s, least, most)
	}
	return n, nil
}
