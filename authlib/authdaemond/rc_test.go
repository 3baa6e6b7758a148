package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

func TestParseRC(t *testing.T) {
	defaults := settings{modules: []string{"authuserdb"}, daemons: 5, directory: "/run/courier/authdaemon",
		connections: 1024, idle: 300 * time.Second}
	show := func(s *settings) string { return fmt.Sprintf("%+v", *s) }
	for _, test := range []struct {
		text string
		want func(*settings)
	}{
		{"", func(*settings) {}},
		{"# comment\n\n##NAME: daemons:0\n", func(*settings) {}},
		{"authmodulelist=\"authuserdb  authmysql\"\n",
			func(s *settings) { s.modules = []string{"authuserdb", "authmysql"} }},
		{"authmodulelist=authldap", func(s *settings) { s.modules = []string{"authldap"} }},
		{"authmodulelist=\"\"\n", func(s *settings) { s.modules = nil }},
		{"authmodulelist='authldap authldap'\r\n", func(s *settings) { s.modules = []string{"authldap"} }},
		{"AUTH_VERIFY_CACHE=3600\n", func(s *settings) { s.verifyTTL = time.Hour }},
		{"AUTH_PERSISTENT_CONNECTIONS=7\nAUTH_PERSISTENT_TIMEOUT=5\n",
			func(s *settings) { s.connections, s.idle = 7, 5*time.Second }},
		// The last counts, the opposite of the auth*rc files.
		{"daemons=7\ndaemons=9\n", func(s *settings) { s.daemons = 9 }},
		{"authdaemonvar=/x\nDEBUG_LOGIN=2\n", func(s *settings) { s.directory, s.debug = "/x", 2 }},
		{"DEBUG_LOGIN=yes\n", func(s *settings) { s.debug = 1 }},
		{"DEBUG_LOGIN=\n", func(*settings) {}},
		{"DEFAULTOPTIONS=\"a=b,c=d e\"\n", func(s *settings) { s.defaults = "a=b,c=d e" }},
		{"AUTH_CACHE_TTL=60\nAUTH_METRICS=127.0.0.1:9143\n",
			func(s *settings) { s.cacheTTL, s.metrics = time.Minute, "127.0.0.1:9143" }},
		{"LDAPTLS_CACERT=/ca.pem\nLOGGEROPTS=\"\"\nauthmodulelistorig=\"x\"\n",
			func(s *settings) { s.ldapTLS["LDAPTLS_CACERT"] = "/ca.pem" }},
		{" daemons=7\nhello\n=x\nLOGGEROPTS=-name x\n", func(s *settings) {
			s.daemons = 7
			const not = ": ignored: only NAME=value is understood here"
			s.warnings = []string{"rc:2" + not, "rc:3" + not,
				`rc:4: ignored: LOGGEROPTS: "x" after the value: a value with blanks has to be quoted`}
		}},
		// As the shell reads it: blanks, comments, quotation marks, $NAME.
		{"DEFAULTOPTIONS=\"disableimap=1\" # c\ndaemons=7\t# seven\n", func(s *settings) {
			s.defaults, s.daemons = "disableimap=1", 7
		}},
		{"X='a'\nDEFAULTOPTIONS=\"$X=1\",${X}'b=2'\n", func(s *settings) { s.defaults = "a=1,ab=2" }},
		{"DEFAULTOPTIONS=\" a = b , disableimap , disablepop3 = No ,, wbnodsn=1 \"\n", func(s *settings) {
			s.defaults = "a=b,disableimap=1,disablepop3=No,wbnodsn=1"
		}},
		{"DEFAULTOPTIONS=\"mailhost=a,b:143,c,shared\"\n", func(s *settings) {
			s.defaults = "mailhost=a,b:143,c,shared"
			const hint = " has no value: blanks or semicolons separate mailhosts"
			s.warnings = []string{`rc:1: DEFAULTOPTIONS: option "b:143"` + hint + `; option "c"` + hint +
				`; option "shared"` + hint}
		}},
		{"authmodulelst=authldap\nDEAMONS=3\nDEFAULT_OPTIONS=x=1\nHOME=/x\nLDAPTLS_CACRT=/x\n", func(s *settings) {
			s.warnings = []string{
				"rc:1: authmodulelst: is not a setting: is authmodulelist meant?",
				"rc:2: DEAMONS: is not a setting: is daemons meant?",
				"rc:3: DEFAULT_OPTIONS: is not a setting: is DEFAULTOPTIONS meant?",
				"rc:5: LDAPTLS_CACRT: is not a setting: is LDAPTLS_CACERT meant?",
			}
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
	const quoted = "after the value: a value with blanks has to be quoted"
	const day = `"86401" is not a number from 0 to 86400`
	const connections = `rc:1: AUTH_PERSISTENT_CONNECTIONS: `
	const switched = "must be yes, no, true, false, on, off, 1 or 0"
	for text, want := range map[string]string{
		"\ndaemons=0\n":                   `rc:2: daemons: "0" is not a number from 1 to 1000`,
		"daemons=1001\n":                  `rc:1: daemons: "1001" is not a number from 1 to 1000`,
		"daemons=\n":                      `rc:1: daemons: "" is not a number from 1 to 1000`,
		"AUTH_CACHE_TTL=1m\n":             `rc:1: AUTH_CACHE_TTL: "1m" is not a number from 0 to 86400`,
		"AUTH_VERIFY_CACHE=86401\n":       `rc:1: AUTH_VERIFY_CACHE: ` + day,
		"AUTH_PERSISTENT_CONNECTIONS=0\n": connections + `"0" is not a number from 1 to 50000`,
		"AUTH_PERSISTENT_TIMEOUT=0\n":     `rc:1: AUTH_PERSISTENT_TIMEOUT: "0" is not a number from 1 to 86400`,
		"authdaemonvar=run\n":             `rc:1: authdaemonvar: not an absolute path`,
		"DEFAULTOPTIONS=\"a\tb=c\"\n":     `rc:1: DEFAULTOPTIONS: control character`,
		"DEFAULTOPTIONS=\"disableimap=maybe\"\n": `rc:1: DEFAULTOPTIONS: option disableimap="maybe": ` +
			switched,
		"DEFAULTOPTIONS=a=1 # c\nDEFAULTOPTIONS=a b\n": `rc:2: DEFAULTOPTIONS: "b" ` + quoted,
		"DEBUG_LOGIN=maybe\n":                          `rc:1: DEBUG_LOGIN: "maybe" is none of 0, 1, 2, yes and no`,
	} {
		if _, err := parseRC("rc", text); err == nil || err.Error() != want {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}

// TestSampleRC: the file in etc/ sets every setting to its default, but for the directory of an installation
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
	// What the package's installations have that others have not asked for.
	d.directory = "/run/mailproxy/authdaemon"
	d.verifyTTL = time.Hour
	if got, want := fmt.Sprintf("%+v", *s), fmt.Sprintf("%+v", *d); got != want {
		t.Errorf("etc/authdaemonrc:\n got %s\nwant %s", got, want)
	}
	text, err := os.ReadFile("../../etc/authdaemonrc")
	if err != nil {
		t.Fatal(err)
	}
	for _, setting := range rcTable() {
		shown := regexp.MustCompile(`(?m)^#?` + setting.name + `=`).Match(text)
		if !shown && setting.set != nil && (!strings.HasPrefix(setting.name, "LDAPTLS_") ||
			setting.name == "LDAPTLS_CACERT") {
			t.Errorf("etc/authdaemonrc does not show %s", setting.name)
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
		t.Error("a directory was read")
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
		if s.daemons < 1 || s.daemons > maxDaemons || !filepath.IsAbs(s.directory) || s.cacheTTL < 0 {
			t.Errorf("%+v", s)
		}
		again, err := parseRC("rc", text+"\ndaemons=17\nauthmodulelist=\"x y\"\n")
		if err != nil || again.daemons != 17 || strings.Join(again.modules, " ") != "x y" {
			t.Errorf("the last setting does not count: %+v, %v", again, err)
		}
	})
}
