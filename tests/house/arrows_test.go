package house

import (
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "mailproxy/"

// leaves may be imported by every package, and import leaves only.
var leaves = []string{
	"internal/accept", "internal/connection", "internal/facts", "internal/filestamp", "internal/guard",
	"internal/haproxy",
	"internal/hostlist", "internal/identity",
	"internal/limits", "internal/line", "internal/loglimit", "internal/logqueue", "internal/maillog",
	"internal/metrics", "internal/peercred", "internal/safepath",
	"internal/shellfile", "internal/smallfile", "internal/spelling", "internal/successor", "internal/systemd",
	"internal/text", "internal/throttle", "internal/tlsnames", "internal/trust", "internal/unixsocket",
	"internal/version",
	"relay/tlsrecord", // needs nothing of relay
}

// arrows says which packages of this module, besides the leaves, the code of a package may import. "x/..." is
// x and every package below it. As in the design: mains, imap and pop3, frontend, login, mailhost and local,
// authlib and relay, leaves; authlib and relay never see each other. A new package gets a line here, or
// becomes a leaf.
var arrows = map[string][]string{
	"imapd-proxy": {"imapd-proxy/imap", "internal/check", "internal/program"},
	"imapd-proxy/imap": {
		"authlib/sasl", "internal/config", "internal/frontend", "internal/login", "internal/mailhost",
	},
	"pop3d-proxy": {"pop3d-proxy/pop3", "internal/check", "internal/program"},
	"pop3d-proxy/pop3": {
		"authlib/sasl", "internal/config", "internal/frontend", "internal/login",
		"internal/mailhost",
	},

	"internal/check": {
		"authlib",
		"authlib/password",
		"authlib/sasl",
		"authlib/scram",
		"internal/config",
		"internal/frontend",
		"internal/launch",
		"internal/login",
		"internal/mailhost",
		"internal/tlsconf",
	},
	"internal/program": {
		"internal/config",
		"internal/frontend",
		"internal/launch",
		"internal/local",
		"internal/resident",
	},
	"internal/resident": {
		"internal/config",
		"internal/frontend",
		"internal/launch",
		"internal/local",
		"internal/login",
		"internal/mailhost",
		"internal/tlsconf",
		"relay",
		"relay/admin",
		"relay/counters",
		"relay/engine",
		"relay/handoff",
		"relay/pump",
	},
	"internal/frontend": {
		"authlib",
		"authlib/sasl",
		"internal/config",
		"internal/launch",
		"internal/local",
		"internal/login",
		"internal/mailhost",
		"internal/tlsconf",
		"relay",
		"relay/engine",
		"relay/handoff",
		"relay/pump",
	},
	"internal/login": {
		"authlib",
		"authlib/sasl",
		"internal/config",
		"internal/launch",
		"internal/mailhost",
		"relay",
	},
	"internal/mailhost": {"internal/config", "internal/launch", "internal/tlsconf", "relay"},
	"internal/local":    {"internal/launch"},
	"internal/launch":   {"internal/config"},
	"internal/tlsconf":  {"internal/config"},
	"internal/config":   {},

	"authlib":             {},
	"authlib/authdaemond": {"authlib/..."},
	"authlib/ldap":        {"authlib", "authlib/password", "authlib/rcfile"},
	"authlib/mysql":       sqlModule,
	"authlib/password":    {"authlib", "authlib/scram"},
	"authlib/pgsql":       sqlModule,
	"authlib/rcfile":      {},
	"authlib/sasl":        {"authlib", "authlib/password", "authlib/scram"},
	"authlib/scram":       {},
	"authlib/sqlaccount":  {"authlib", "authlib/password", "authlib/rcfile"},
	"authlib/userdb":      {"authlib", "authlib/password"},
	"authlib/verified":    {},

	"relay":              {},
	"relay/admin":        {"relay", "relay/engine", "relay/handoff"},
	"relay/counters":     {"relay", "relay/engine"},
	"relay/engine":       {"relay", "relay/handoff"},
	"relay/handoff":      {"relay"},
	"relay/pump":         {"relay", "relay/handoff"},
	"relay/mailproxyctl": {"relay", "relay/handoff"},
	"relay/relayd":       {"relay/..."},
}

var sqlModule = []string{"authlib/rcfile", "authlib/sqlaccount"}

// strangers never see each other.
var strangers = [][2]string{
	{"authlib", "relay"},
	{"relay", "authlib"},
	{"imapd-proxy", "pop3d-proxy"},
	{"pop3d-proxy", "imapd-proxy"},
}

// drivers are what connects to account databases: authdaemond's alone.
var drivers = []string{
	"database/sql",
	"github.com/jackc/pgx/",
	"github.com/go-sql-driver/",
	"github.com/go-ldap/",
}

// Package is what go list tells about a package.
type Package struct {
	ImportPath string
	Imports    []string
}

func list(t *testing.T, args ...string) (packages []Package) {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-json=ImportPath,Imports"}, args...)...)
	cmd.Dir = root
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, &stderr)
	}
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p Package
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatal(err)
		}
		packages = append(packages, p)
	}
}

// ours returns the path inside the module.
func ours(importPath string) (name string, ok bool) { return strings.CutPrefix(importPath, module) }

// forTests tells whether the package is there for tests only.
func forTests(name string) bool { return strings.HasPrefix(name, "tests/") }

// matches tells whether a pattern of the table allows the import of a package.
func matches(pattern, to string) bool {
	below, all := strings.CutSuffix(pattern, "/...")
	return to == pattern || all && (to == below || strings.HasPrefix(to, below+"/"))
}

// wrongArrow says what is wrong with an import of one of this module's packages by another, or nothing.
func wrongArrow(from, to string) string {
	allowed, known := arrows[from]
	switch {
	case forTests(from):
		return ""
	case forTests(to):
		return "is for tests"
	case slices.Contains(leaves, to):
		return ""
	case slices.Contains(leaves, from):
		return "is not a leaf, and " + from + " is one"
	case !known:
		return "is imported by a package that the table of arrows does not know"
	case !slices.ContainsFunc(allowed, func(pattern string) bool { return matches(pattern, to) }):
		return "is not in the line of the table of arrows"
	}
	return ""
}

func TestArrows(t *testing.T) {
	packages := list(t, "./...")
	if len(packages) < 20 {
		t.Fatalf("go list shows %d packages", len(packages))
	}
	imports := make(map[string][]string, len(packages)) // packages of this module, by the one that imports them
	for _, p := range packages {
		from, _ := ours(p.ImportPath)
		imports[from] = nil
		if _, known := arrows[from]; !known && !slices.Contains(leaves, from) && !forTests(from) {
			t.Errorf("%s: neither a leaf nor in the table of arrows", from)
		}
		if slices.Contains(p.Imports, "testing") && !forTests(from) {
			t.Errorf("%s imports testing: what helps tests is in tests/", from)
		}
		for _, i := range p.Imports {
			if to, ok := ours(i); ok {
				imports[from] = append(imports[from], to)
				if wrong := wrongArrow(from, to); wrong != "" {
					t.Errorf("%s imports %s, which %s", from, to, wrong)
				}
			}
		}
	}
	for _, surplus := range surplusArrows(leaves, arrows, imports) {
		t.Error(surplus)
	}
}

// surplusArrows says which leaves and lines name a package that does not exist, and which permissions nothing
// uses.
func surplusArrows(leaves []string, arrows, imports map[string][]string) (surplus []string) {
	for _, leaf := range leaves {
		if _, exists := imports[leaf]; !exists {
			surplus = append(surplus, leaf+": a leaf that does not exist")
		}
	}
	for _, from := range slices.Sorted(maps.Keys(arrows)) {
		imported, exists := imports[from]
		if !exists {
			surplus = append(surplus, from+": has a line in the table of arrows and does not exist")
			continue
		}
		for _, pattern := range arrows[from] {
			if !slices.ContainsFunc(imported, func(to string) bool { return matches(pattern, to) }) {
				surplus = append(surplus, from+": may import "+pattern+", and does not")
			}
		}
	}
	return surplus
}

func TestSurplusArrows(t *testing.T) {
	got := surplusArrows(
		[]string{"leaf", "gone"},
		map[string][]string{"used": {"leaf", "below/..."}, "unused": {"used", "below/..."}, "old": {}},
		map[string][]string{"leaf": nil, "used": {"leaf", "below/it"}, "unused": {"used"}, "below/it": nil})
	want := []string{
		"gone: a leaf that does not exist",
		"old: has a line in the table of arrows and does not exist",
		"unused: may import below/..., and does not",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, not %q", got, want)
	}
}

// The table itself keeps the rules that no line of it may break.
func TestArrowTable(t *testing.T) {
	for from, to := range arrows {
		for _, pattern := range to {
			for _, side := range strangers {
				if strings.HasPrefix(from, side[0]) && strings.HasPrefix(pattern, side[1]) {
					t.Errorf("%s may import %s", from, pattern)
				}
			}
		}
		if strings.HasPrefix(from, "authlib") || strings.HasPrefix(from, "relay") {
			for _, pattern := range to {
				if strings.HasPrefix(pattern, "internal/") {
					t.Errorf("%s may import %s, which is not a leaf", from, pattern)
				}
			}
		}
	}
	for _, c := range []struct {
		from, to string
		wrong    bool
	}{
		{"authlib", "relay", true}, {"relay/relayd", "authlib", true}, {"relay", "internal/frontend", true},
		{"internal/line", "authlib", true}, {"internal/frontend", "tests/testlog", true},
		{"internal/frontendtest", "tests/testlog", true},
		{"internal/mailhost", "internal/login", true}, {"internal/login", "internal/frontend", true},
		{"imapd-proxy/imap", "pop3d-proxy/pop3", true},
		{"internal/new", "authlib", true},
		{"authlib/authdaemond", "authlib/ldap", false}, {"relay/relayd", "relay/engine", false},
		{"internal/frontend", "internal/line", false}, {"tests/fronttest", "internal/frontend", false},
	} {
		if got := wrongArrow(c.from, c.to); (got != "") != c.wrong {
			t.Errorf("%s imports %s: %q", c.from, c.to, got)
		}
	}
}

func TestFrontEndsLinkNoDriver(t *testing.T) {
	links := func(program string) (found []string) {
		for _, p := range list(t, "-deps", "./"+program) {
			for _, driver := range drivers {
				if p.ImportPath == driver || strings.HasPrefix(p.ImportPath, driver) {
					found = append(found, p.ImportPath)
				}
			}
		}
		return found
	}
	for _, program := range []string{"imapd-proxy", "pop3d-proxy", "relay/relayd", "relay/mailproxyctl"} {
		if found := links(program); len(found) > 0 {
			t.Errorf("%s links %q", program, found)
		}
	}
	if len(links("authlib/authdaemond")) == 0 {
		t.Error("authdaemond links no driver: the test looks for the wrong names")
	}
}
