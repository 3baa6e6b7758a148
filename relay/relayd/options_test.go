package main

import (
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mailproxy/tests/testlog"
)

func TestOptions(t *testing.T) {
	path := filepath.Join(t.TempDir(), "options")
	for text, want := range map[string]int{
		"": 7, "RELAYD_OPTIONS=\"\"\n": 7, "# RELAYD_OPTIONS=\"-max 1\"\n": 7, "RELAYD_OPTIONS=\n": 7,
		"RELAYD_OPTIONS=\"-max 5 -maxperip 3\"\n": 5, "RELAYD_OPTIONS='-max 5'\nOTHER=-max 6": 5,
		"RELAYD_OPTIONS=-max=5": 5,
		"RELAYD_OPTIONS=\"-max 5\"\n\n  RELAYD_OPTIONS=\"-max 6\"\n": 6,

		"RELAYD_OPTIONS=\"-max five\"\n": -1, "RELAYD_OPTIONS=\"-max 5": -1,
		"RELAYD_OPTIONS=-max 5 who": -1, "RELAYD_OPTIONS=\"": -1,
		"RELAYD_OPTIONS=-options=/x": -1,
		// Lines that are not understood, and a name that nearly is the setting's.
		"RELAYD_OPTIONS -max 5": -1, "-max 5": -1, "RELAYD_OPTION=\"-max 5\"": -1, "RELAYD_OPTIONS =\"-max 5\"": -1,
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := parse([]string{"relayd", "-max", "7", "-options", path}, io.Discard)
		if want < 0 != (err != nil) || err == nil && c.max != want {
			t.Errorf("%q: %+v, %v", text, c, err)
		}
	}
	none := filepath.Join(path, "..", "none")
	if c, err := parse([]string{"relayd", "-options", none, "-max", "7"}, io.Discard); err != nil || c.max != 7 {
		t.Errorf("no file: %+v, %v", c, err)
	}
	if _, err := parse([]string{"relayd", "-options", filepath.Dir(path)}, io.Discard); err == nil {
		t.Error("a directory is no file of options")
	}
	// The reload has the arguments as they were given, and reads the file anew.
	c, err := parse([]string{"relayd", "-options", path, "version"}, io.Discard)
	if err != nil || len(c.args) != 4 || c.command != "version" {
		t.Errorf("%+v, %v", c, err)
	}
}

// TestOldOptions: what relayd was told of TLS while it made handshakes is ignored, and the log says so.
func TestOldOptions(t *testing.T) {
	path := filepath.Join(t.TempDir(), "options")
	text := []byte("RELAYD_OPTIONS=\"-tls no -max 5 -maxlogins 10\"\n")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := parse([]string{"relayd", "-options", path}, io.Discard)
	if err != nil || c.max != 5 || !slices.Equal(c.old, []string{"-tls", "-maxlogins"}) {
		t.Errorf("%+v, %v", c, err)
	}
	p := startProcess(t, "-options", path)
	for _, option := range []string{"-tls", "-maxlogins"} {
		line := "WARN: relayd: option " + option + " no longer has a meaning and is ignored"
		if !testlog.Eventually(func() bool { return strings.Contains(p.log.String(), line) }) ||
			strings.Count(p.log.String(), line) != 1 {
			t.Errorf("not one line about %s:\n%s", option, p.log)
		}
	}
}
