// Package db tests the account databases against real servers, and asks Courier's authdaemond the same
// questions.
//
// What is not tested here: Windows clients of any kind, MySQL of Oracle's make (Debian has MariaDB), LDAP
// servers other than OpenLDAP, PgBouncer.
package db

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mailproxy/authlib"
	"mailproxy/authlib/ldap"
	"mailproxy/authlib/mysql"
	"mailproxy/authlib/pgsql"
	"mailproxy/tests/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

// settings are lines of an auth*rc file.
type settings map[string]string

// with returns a copy with some of them changed; "" takes one away.
func (s settings) with(changes settings) settings {
	all := settings{}
	for name, value := range s {
		all[name] = value
	}
	for name, value := range changes {
		if value == "" {
			delete(all, name)
		} else {
			all[name] = value
		}
	}
	return all
}

func (s settings) text() string {
	var b strings.Builder
	b.WriteString("##VERSION: 1\n")
	for name, value := range s {
		fmt.Fprintf(&b, "%s\t%s\n", name, value)
	}
	b.WriteString("##NAME: MARKER:0\n")
	return b.String()
}

// write writes the settings to a file that only root may read.
func (s settings) write(t testing.TB, path string) string {
	t.Helper()
	tmp := path + ".new"
	harness.WriteFile(t, tmp, s.text(), 0o600)
	if err := os.Rename(tmp, path); err != nil {
		t.Fatal(err)
	}
	return path
}

// file writes the settings to a new file.
func (s settings) file(t testing.TB) string {
	t.Helper()
	return s.write(t, filepath.Join(harness.Dir(t), "authrc"))
}

// newModule makes a module in this process.
func newModule(name, path string, env func(string) string, logf func(string, ...any)) authlib.Module {
	switch name {
	case "authpgsql":
		return pgsql.New(path, 5, logf)
	case "authmysql":
		return mysql.New(path, 5, logf)
	}
	return ldap.New(path, 5, env, logf)
}

// reload writes a file anew, with a time that no earlier one had.
func reload(t testing.TB, s settings, path string) {
	t.Helper()
	old, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	s.write(t, path)
	stamp := old.ModTime().Add(time.Second)
	if err := os.Chtimes(path, stamp, stamp); err != nil {
		t.Fatal(err)
	}
	settle()
}

// settle is the pause after which our modules look at their files again: they do so every 20 ms at most,
// which is what the tests that call it are about.
func settle() { time.Sleep(30 * time.Millisecond) }
