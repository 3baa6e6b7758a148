package check

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// pageSettings returns the settings that the manual page describes.
func pageSettings(t *testing.T) []string {
	t.Helper()
	page, err := os.ReadFile("../../man/mailproxy.5")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for line := range strings.Lines(string(page)) {
		if item, ok := strings.CutPrefix(line, ".It Ev "); ok {
			item, _, _ = strings.Cut(item, " Pq ")
			for word := range strings.SplitSeq(item, " , ") {
				name, _, _ := strings.Cut(strings.TrimSpace(word), " ")
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	return names
}

// TestEverySettingIsInThePage: what check knows and what the manual describes is the same list.
func TestEverySettingIsInThePage(t *testing.T) {
	want := slices.Sorted(maps.Keys(known))
	got := slices.DeleteFunc(pageSettings(t), func(name string) bool { return name == "AUTHSERVICE143" })
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("known settings (-) and man/mailproxy.5 (+) differ:\n%s", d)
	}
}

// TestEverySettingInTheCodeIsKnown looks for the names in the source of the front ends: each setting that the code asks
// for is known, and each known one is asked for.
func TestEverySettingInTheCodeIsKnown(t *testing.T) {
	var code strings.Builder
	for _, dir := range []string{"../../imapd-proxy/imap", "../../pop3d-proxy/pop3", "../frontend", "../inetd", "../tlsconf"} {
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %d files, %v", dir, len(files), err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			code.Write(text)
		}
	}
	// A setting is asked for by name, or by the protocol's name and a suffix.
	asked := regexp.MustCompile(`(?:Get|Number|Yes|Seconds|seconds|Lookup|get)\("([A-Z][A-Z0-9_]+)"`)
	for _, m := range asked.FindAllStringSubmatch(code.String(), -1) {
		if name := m[1]; !isKnown(name) && !slices.Contains(launcher, name) {
			t.Errorf("the code asks for %s, which is not in the list of known settings", name)
		}
	}
	for name := range known {
		suffix := name
		for _, prefix := range []string{"IMAP_", "POP3_"} {
			if rest, ok := strings.CutPrefix(name, prefix); ok {
				suffix = "_" + rest
			}
		}
		if !strings.Contains(code.String(), `"`+name+`"`) && !strings.Contains(code.String(), `"`+suffix+`"`) {
			t.Errorf("%s is known, but the code never asks for it", name)
		}
	}
}

// launcher holds names that launchers set for their own protocol with a program, or that are known to all programs; they are
// no settings.
var launcher = []string{"LISTEN_FDS", "LISTEN_PID", "JOURNAL_STREAM", "SSL_CERT_FILE"}
