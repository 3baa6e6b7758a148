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

// Upper bounds, against typing errors.
const (
	maxDaemons     = 1000
	maxConnections = 50000
	maxSeconds     = 24 * 3600
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

// rcSetting is a setting of authdaemonrc.
type rcSetting struct {
	name, value string // value is the default
	// set reads a value; nil = the setting means something to Courier only. The warning is about what is there
	// but does nothing.
	set func(s *settings, value string) (warning string, err error)
}

// rcTable is every setting there is, ours and Courier's.
func rcTable() []rcSetting {
	table := []rcSetting{
		{"authmodulelist", "authuserdb", (*settings).setModules},
		{"authmodulelistorig", "", nil},
		{"daemons", "5", number(1, maxDaemons, func(s *settings, n int) { s.daemons = n })},
		{"authdaemonvar", authlib.DefaultDirectory, (*settings).setDirectory},
		{"subsystem", "", nil},
		{"DEBUG_LOGIN", "", (*settings).setDebug},
		{"DEFAULTOPTIONS", "", (*settings).setDefaults},
		{"LOGGEROPTS", "", nil},
		{"AUTH_CACHE_TTL", "0", seconds(0, func(s *settings, d time.Duration) { s.cacheTTL = d })},
		{"AUTH_VERIFY_CACHE", "0", seconds(0, func(s *settings, d time.Duration) { s.verifyTTL = d })},
		{"AUTH_PERSISTENT_CONNECTIONS", "1024",
			number(1, maxConnections, func(s *settings, n int) { s.connections = n })},
		{"AUTH_PERSISTENT_TIMEOUT", "300", seconds(1, func(s *settings, d time.Duration) { s.idle = d })},
		{"AUTH_METRICS", "", func(s *settings, value string) (string, error) {
			s.metrics = value
			return "", nil
		}},
	}
	for _, name := range []string{"CACERT", "CACERTDIR", "CERT", "KEY", "REQCERT", "CIPHER_SUITE", "CRLFILE",
		"CRLCHECK"} {
		name = "LDAPTLS_" + name
		table = append(table, rcSetting{name, "", func(s *settings, value string) (string, error) {
			s.ldapTLS[name] = value
			return "", nil
		}})
	}
	return table
}

// parseRC parses the text of an authdaemonrc, one NAME=value a line as the shell reads it, see
// [shellfile.Assignment]. Of two settings of a name the last counts. A value that cannot be used is an error
// that names line and setting.
func parseRC(path, text string) (*settings, error) {
	s := &settings{ldapTLS: make(map[string]string)}
	var known []string
	set := make(map[string]func(*settings, string) (warning string, err error))
	for _, setting := range rcTable() {
		known = append(known, setting.name)
		set[setting.name] = setting.set
		if setting.value != "" {
			if _, err := setting.set(s, setting.value); err != nil {
				return nil, err
			}
		}
	}
	values := make(map[string]string)
	number := 0
	for line := range strings.Lines(text) {
		number++
		where := fmt.Sprintf("%s:%d", path, number)
		name, value, err := shellfile.Assignment(strings.TrimRight(line, "\r\n"),
			func(name string) string { return values[name] })
		switch {
		case err != nil && set[name] != nil:
			return nil, fmt.Errorf("%s: %w", where, err)
		case err != nil:
			s.warnings = append(s.warnings, fmt.Sprintf("%s: ignored: %v", where, err))
			continue
		case name == "":
			continue
		}
		values[name] = value
		warning := ""
		switch {
		case authlib.HasControl(value):
			err = errors.New("control character")
		case set[name] != nil:
			warning, err = set[name](s, value)
		default:
			if near := spelling.Nearest(name, known); near != "" {
				warning = fmt.Sprintf("is not a setting: is %s meant?", near)
			}
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %s: %w", where, name, err)
		}
		if warning != "" {
			s.warnings = append(s.warnings, fmt.Sprintf("%s: %s: %s", where, name, warning))
		}
	}
	return s, nil
}

func (s *settings) setModules(value string) (warning string, err error) {
	s.modules = nil
	for m := range strings.FieldsSeq(value) {
		if !slices.Contains(s.modules, m) {
			s.modules = append(s.modules, m)
		}
	}
	return "", nil
}

func (s *settings) setDirectory(value string) (warning string, err error) {
	s.directory = value
	if !filepath.IsAbs(value) {
		err = errors.New("not an absolute path")
	}
	return "", err
}

// setDebug reads a switch, or how much is written.
func (s *settings) setDebug(value string) (warning string, err error) {
	level, ok := spelling.ParseLevel(value)
	if s.debug = level; !ok && strings.TrimSpace(value) != "" {
		err = fmt.Errorf("%.40q is none of 0, 1, 2, yes and no", value)
	}
	return "", err
}

func (s *settings) setDefaults(value string) (warning string, err error) {
	var remarks []string
	s.defaults, remarks, err = authlib.Options(value).Clean()
	return strings.Join(remarks, "; "), err
}

// seconds is number for a time of a day at most.
func seconds(least int, set func(*settings, time.Duration)) func(*settings, string) (string, error) {
	return number(least, maxSeconds, func(s *settings, n int) { set(s, time.Duration(n)*time.Second) })
}

// number reads a number within bounds.
func number(least, most int, set func(*settings, int)) func(*settings, string) (string, error) {
	return func(s *settings, value string) (string, error) {
		n, err := strconv.Atoi(strings.TrimSpace(value))
		if err != nil || n < least || n > most {
			return "", fmt.Errorf("%q is not a number from %d to %d", value, least, most)
		}
		set(s, n)
		return "", nil
	}
}
