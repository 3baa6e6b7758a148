package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestParseRC(t *testing.T) {
	defaults := settings{modules: []string{"authuserdb"}, daemons: 5, folder: "/run/courier/authdaemon", ldapTLS: map[string]string{}}
	show := func(s *settings) string { return fmt.Sprintf("%+v", *s) }
	for _, test := range []struct {
		text string
		want func(*settings)
	}{
		{"", func(*settings) {}},
		{"# comment\n\n##NAME: daemons:0\n", func(*settings) {}},
		{"authmodulelist=\"authuserdb  authmysql\"\n", func(s *settings) { s.modules = []string{"authuserdb", "authmysql"} }},
		{"authmodulelist=authldap", func(s *settings) { s.modules = []string{"authldap"} }},
		{"authmodulelist=\"\"\n", func(s *settings) { s.modules = nil }},
		{"authmodulelist='authldap authldap'\r\n", func(s *settings) { s.modules = []string{"authldap"} }},
		// The last counts, the opposite of the auth*rc files.
		{"daemons=7\ndaemons=9\n", func(s *settings) { s.daemons = 9 }},
		{"authdaemonvar=/x\nDEBUG_LOGIN=2\n", func(s *settings) { s.folder, s.debug = "/x", 2 }},
		{"DEBUG_LOGIN=yes\n", func(*settings) {}},
		{"DEFAULTOPTIONS=\"a=b,c=d e\"\n", func(s *settings) { s.defaults = "a=b,c=d e" }},
		{"AUTH_CACHE_TTL=60\nAUTH_METRICS=127.0.0.1:9143\n", func(s *settings) { s.cacheTTL, s.metrics = time.Minute, "127.0.0.1:9143" }},
		{"LDAPTLS_CACERT=/ca.pem\nLOGGEROPTS=\"\"\nauthmodulelistorig=\"x\"\n", func(s *settings) { s.ldapTLS["LDAPTLS_CACERT"] = "/ca.pem" }},
		{" daemons=7\nhello\n=x\n", func(s *settings) {
			s.warnings = []string{"rc:1: not NAME=value, ignored", "rc:2: not NAME=value, ignored", "rc:3: not NAME=value, ignored"}
		}},
	} {
		want := defaults
		want.ldapTLS = map[string]string{}
		test.want(&want)
		got, err := parseRC("rc", test.text)
		if err != nil || show(got) != show(&want) {
			t.Errorf("%q:\n got %s, %v\nwant %s", test.text, show(got), err, show(&want))
		}
	}
	for text, want := range map[string]string{
		"\ndaemons=0\n":               `rc:2: daemons: "0" is not a number from 1 to 1000`,
		"daemons=1001\n":              `rc:1: daemons: "1001" is not a number from 1 to 1000`,
		"daemons=\n":                  `rc:1: daemons: "" is not a number from 1 to 1000`,
		"AUTH_CACHE_TTL=1m\n":         `rc:1: AUTH_CACHE_TTL: "1m" is not a number from 0 to 86400`,
		"authdaemonvar=run\n":         `rc:1: authdaemonvar: not an absolute path`,
		"DEFAULTOPTIONS=\"a\tb=c\"\n": `rc:1: DEFAULTOPTIONS: control character`,
	} {
		if _, err := parseRC("rc", text); err == nil || err.Error() != want {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}

// TestSampleRC: the file in etc/ sets every setting to its default, but for the folder of an installation
// without Courier, and describes them all.
func TestSampleRC(t *testing.T) {
	s, err := readRC("../../etc")
	if err != nil || len(s.warnings) > 0 {
		t.Fatal(err, s)
	}
	d, err := parseRC("", "")
	if err != nil {
		t.Fatal(err)
	}
	d.folder = "/run/mailproxy/authdaemon"
	if got, want := fmt.Sprintf("%+v", *s), fmt.Sprintf("%+v", *d); got != want {
		t.Errorf("etc/authdaemonrc:\n got %s\nwant %s", got, want)
	}
	text, err := os.ReadFile("../../etc/authdaemonrc")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"authmodulelist", "daemons", "authdaemonvar", "DEBUG_LOGIN", "DEFAULTOPTIONS", "AUTH_CACHE_TTL", "AUTH_METRICS", "#LDAPTLS_CACERT"} {
		if !strings.Contains(string(text), "\n"+name+"=") {
			t.Errorf("etc/authdaemonrc does not show %s", name)
		}
	}
}

func TestReadRC(t *testing.T) {
	dir := t.TempDir()
	if s, err := readRC(dir); err != nil || strings.Join(s.modules, " ") != "authuserdb" {
		t.Errorf("no file: %+v, %v", s, err)
	}
	if err := os.Mkdir(filepath.Join(dir, "authdaemonrc"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := readRC(dir); err == nil {
		t.Error("a folder was read")
	}
}

func FuzzParseRC(f *testing.F) {
	f.Add("authmodulelist=\"authuserdb authmysql\"\ndaemons=5\n# x\nDEFAULTOPTIONS='a=b'\n")
	f.Add("daemons=9999999999999999999\n")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := parseRC("rc", text)
		if err != nil {
			return
		}
		if s.daemons < 1 || s.daemons > maxDaemons || !filepath.IsAbs(s.folder) || s.cacheTTL < 0 {
			t.Errorf("%+v", s)
		}
		again, err := parseRC("rc", text+"\ndaemons=17\nauthmodulelist=\"x y\"\n")
		if err != nil || again.daemons != 17 || strings.Join(again.modules, " ") != "x y" {
			t.Errorf("the last setting does not count: %+v, %v", again, err)
		}
	})
}
