package main

import (
	"io"
	"mailproxy/internal/maillog"
	"testing"
	"time"
)

// TestReuse: a reload keeps the modules that stay as they are open, and closes the others.
func TestReuse(t *testing.T) {
	open := func(rc string, old *asker) *asker {
		t.Helper()
		s, err := parseRC("rc", rc)
		if err != nil {
			t.Fatal(err)
		}
		p := &program{directory: t.TempDir(), log: maillog.NewLog(io.Discard)}
		su := p.setup(s, false)
		su.directory = "/nonexistent"
		return newAsker(s, su, old, time.Now)
	}
	first := open("authmodulelist=\"authuserdb authfoo\"", nil)
	second := open("authmodulelist=\"authfoo authuserdb\"\nDEFAULTOPTIONS=x=1", first)
	if first.modules[0] != second.modules[1] {
		t.Error("authuserdb was opened again")
	}
	if first.modules[1] == second.modules[0] {
		t.Error("a module that cannot serve was not tried again")
	}
	for _, rc := range []string{"daemons=6", "LDAPTLS_CACERT=/new"} {
		if third := open(rc, second); third.modules[0] == second.modules[1] {
			t.Errorf("%s: not opened again", rc)
		}
	}
}
