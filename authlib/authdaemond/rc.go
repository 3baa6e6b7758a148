package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"mailproxy/authlib"
	"mailproxy/internal/shellfile"
	"mailproxy/internal/spelling"
)

// Defaults of authdaemonrc.
const (
	defaultModules = "authuserdb"
	defaultDaemons = 5
	// Persistent connections at once, and seconds until a silent one is closed.
	defaultConnections = 1024
	defaultIdle        = 300
)

// Bounds on slips of the pen.
const (
	maxDaemons     = 1000
	maxConnections = 50000
)

// maxRC is how much of an authdaemonrc is read, in bytes.
const maxRC = 1 << 20

// settings is what authdaemonrc says.
type settings struct {
	// modules in the order in which they are asked (authmodulelist).
	modules []string
	// daemons is the number of workers that Courier would start; here it scales the limits, see slotsPerDaemon.
	daemons int
	// directory of the socket (authdaemonvar).
	directory string
	// debug is DEBUG_LOGIN: 1 = steps, 2 = passwords too.
	debug int
	// defaults are merged under the options of each account (DEFAULTOPTIONS).
	defaults authlib.Options
	// cacheTTL is how long a successful answer may be repeated without asking (AUTH_CACHE_TTL, seconds); 0 = not
	// at all.
	cacheTTL time.Duration
	// verifyTTL is how long a slow hash is remembered to have been right for a password (AUTH_VERIFY_CACHE,
	// seconds); 0 = not at all.
	verifyTTL time.Duration
	// connections is how many persistent connections there may be (AUTH_PERSISTENT_CONNECTIONS), idle how long
	// one may be silent (AUTH_PERSISTENT_TIMEOUT, seconds).
	connections int
	idle        time.Duration
	// metrics is where counters are served (AUTH_METRICS): a path, or a loopback address and port; empty =
	// nowhere.
	metrics string
	// ldapTLS are the LDAPTLS_ settings.
	ldapTLS map[string]string
	// warnings name lines that are not understood.
	warnings []string
}

// readRC reads authdaemonrc in a directory. A file that is not there stands for the defaults, with a warning.
func readRC(directory string) (*settings, error) {
	path := filepath.Join(directory, "authdaemonrc")
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		s, err := parseRC(path, "")
		if err == nil {
			s.warnings = append(s.warnings, path+" is not there: every setting has its default")
		}
		return s, err
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

// known are the settings of authdaemonrc, ours and Courier's.
var known = []string{
	"authmodulelist", "authmodulelistorig", "daemons", "authdaemonvar", "subsystem", "DEBUG_LOGIN",
	"DEFAULTOPTIONS", "LOGGEROPTS", "AUTH_CACHE_TTL", "AUTH_VERIFY_CACHE", "AUTH_METRICS",
	"AUTH_PERSISTENT_CONNECTIONS", "AUTH_PERSISTENT_TIMEOUT",
	"LDAPTLS_CACERT", "LDAPTLS_CACERTDIR", "LDAPTLS_CERT",
	"LDAPTLS_KEY", "LDAPTLS_REQCERT", "LDAPTLS_CIPHER_SUITE", "LDAPTLS_CRLFILE", "LDAPTLS_CRLCHECK",
}

// isRead tells whether a setting means something here, so that what is not understood of it is an error.
func isRead(name string) bool {
	switch name {
	case "authmodulelistorig", "subsystem", "LOGGEROPTS":
		return false
	}
	return slices.Contains(known, name)
}

// parseRC parses the text of an authdaemonrc, one NAME=value a line as the shell reads it, see
// [shellfile.Assignment]. Of two settings of a name the last counts. A value that cannot be used is an error
// that names line and setting.
func parseRC(path, text string) (*settings, error) {
	s := &settings{modules: []string{defaultModules}, daemons: defaultDaemons,
		directory:   authlib.DefaultDirectory,
		connections: defaultConnections, idle: defaultIdle * time.Second,
		ldapTLS: make(map[string]string)}
	values := make(map[string]string)
	number := 0
	for line := range strings.Lines(text) {
		number++
		where := fmt.Sprintf("%s:%d", path, number)
		name, value, err := shellfile.Assignment(strings.TrimRight(line, "\r\n"),
			func(name string) string { return values[name] })
		switch {
		case err != nil && isRead(name):
			return nil, fmt.Errorf("%s: %w", where, err)
		case err != nil:
			s.warnings = append(s.warnings, fmt.Sprintf("%s: ignored: %v", where, err))
			continue
		case name == "":
			continue
		}
		values[name] = value
		warning, err := s.set(name, value)
		if err != nil {
			return nil, fmt.Errorf("%s: %s: %w", where, name, err)
		}
		if warning != "" {
			s.warnings = append(s.warnings, fmt.Sprintf("%s: %s: %s", where, name, warning))
		}
	}
	return s, nil
}

// set sets one setting. The warning is about what is there but does nothing.
func (s *settings) set(name, value string) (warning string, err error) {
	if authlib.HasControl(value) {
		return "", errors.New("control character")
	}
	switch name {
	case "authmodulelist":
		s.modules = nil
		for m := range strings.FieldsSeq(value) {
			if !slices.Contains(s.modules, m) {
				s.modules = append(s.modules, m)
			}
		}
	case "daemons":
		s.daemons, err = count(value, 1, maxDaemons)
	case "authdaemonvar":
		s.directory = value
		if !filepath.IsAbs(value) {
			err = errors.New("not an absolute path")
		}
	case "DEBUG_LOGIN":
		s.debug, err = debugLevel(value)
	case "DEFAULTOPTIONS":
		var remarks []string
		s.defaults, remarks, err = authlib.Options(value).Clean()
		warning = strings.Join(remarks, "; ")
	case "AUTH_CACHE_TTL":
		s.cacheTTL, err = seconds(value, 0)
	case "AUTH_VERIFY_CACHE":
		s.verifyTTL, err = seconds(value, 0)
	case "AUTH_PERSISTENT_CONNECTIONS":
		s.connections, err = count(value, 1, maxConnections)
	case "AUTH_PERSISTENT_TIMEOUT":
		s.idle, err = seconds(value, 1)
	case "AUTH_METRICS":
		s.metrics = value
	default:
		if strings.HasPrefix(name, "LDAPTLS_") {
			s.ldapTLS[name] = value
		}
		if near := spelling.Nearest(name, known); near != "" {
			warning = fmt.Sprintf("is not a setting: is %s meant?", near)
		}
	}
	return warning, err
}

// debugLevel reads DEBUG_LOGIN: a switch, or how much is written.
func debugLevel(text string) (int, error) {
	level, ok := spelling.ParseLevel(text)
	if !ok && strings.TrimSpace(text) != "" {
		return 0, fmt.Errorf("%.40q is none of 0, 1, 2, yes and no", text)
	}
	return level, nil
}

// seconds parses a time of a day at most.
func seconds(s string, least int) (time.Duration, error) {
	n, err := count(s, least, 24*3600)
	return time.Duration(n) * time.Second, err
}

// count parses a number within bounds.
func count(s string, least, most int) (int, error) {
	n, err := strconv.Atoi(strings.TrimSpace(s))
	if err != nil || n < least || n > most {
		return 0, fmt.Errorf("%q is not a number from %d to %d", s, least, most)
	}
	return n, nil
}
