package config

import (
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// different are the settings of the samples that are not what counts without them. Their comments say so.
var different = []string{
	"IMAP_CAPABILITY", "POP3AUTH", "THROTTLE_FILE", "MAXUNAUTHPERIP", "AUTHDAEMON_SOCKET", "AUTHDAEMON_CONFIG",
	"IMAP_PROXY", "POP3_PROXY", "TLS_CERTFILE",
}

// unsaid are the settings of the manual page that the samples leave out: launchers say them, or they are
// second names.
var unsaid = []string{"IMAPDSTARTTLS", "IMAP_TLS", "POP3_TLS"}

// The files in etc/ load, hold every setting of their protocol, if only behind a "#", and apart from a few
// say what is in force without them.
func TestSamples(t *testing.T) {
	for p, base := range map[Protocol]string{IMAP: "../../etc/imapd", POP3: "../../etc/pop3d"} {
		files := []string{base, base + "-ssl"}
		if _, err := Load(files, nil, p); err != nil {
			t.Error(err)
			continue
		}
		raw, err := readAll(files, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range slices.Sorted(maps.Keys(raw)) {
			s, ok := Find(name)
			switch {
			case !ok || s.Status != Used || s.For != "" && s.For != p:
				t.Errorf("%s: %s is not a setting of %s", raw[name].source(), name, p)
			case slices.Contains(different, name) == (raw.Get(name) == s.Default):
				t.Errorf("%s: %s=%q, the default is %q", raw[name].source(), name, raw.Get(name), s.Default)
			}
		}
		var text strings.Builder
		for _, file := range files {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			text.Write(b)
		}
		for _, s := range All() {
			name := s.Name
			if _, isPort := authServicePort(name); isPort {
				name = authService + `\d+`
			}
			said := regexp.MustCompile(`(?m)^(# )?` + name + `=`)
			want := s.Status == Used && (s.For == "" || s.For == p) && !slices.Contains(unsaid, s.Name)
			if got := said.MatchString(text.String()); got != want {
				t.Errorf("%s and -ssl name %s: %v", base, s.Name, got)
			}
		}
	}
}
