package house

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// git runs git in a directory, with no configuration but its own.
func git(t *testing.T, dir string, args ...string) {
	t.Helper()
	who := []string{"-C", dir, "-c", "user.name=test", "-c", "user.email=test@example.org"}
	cmd := exec.Command("git", append(who, args...)...)
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("git %v: %v\n%s", args, err, out)
	}
}

// TestReleaseCheck: what "make release" refuses to build.
func TestReleaseCheck(t *testing.T) {
	script, err := filepath.Abs(filepath.Join(root, "packaging/release-check"))
	if err != nil {
		t.Fatal(err)
	}
	const good = "# Changelog\n\n## 1.2.3 (2026-11-26)\n\n- A change.\n\n## 1.2.2\n\n- Another.\n"
	for name, test := range map[string]struct {
		version, changelog string
		spoil              func(dir string)
		want               string // "" is a release
	}{
		"release":          {"1.2.3", good, nil, ""},
		"without a date":   {"1.2.3", "## 1.2.3\n\n- A change.\n", nil, ""},
		"candidate":        {"1.2.3-rc1", "## 1.2.3-rc1\n\n- A change.\n", nil, ""},
		"its own tag":      {"1.2.3", good, func(dir string) { git(t, dir, "tag", "v1.2.3") }, ""},
		"no version":       {"", good, nil, "not of the form"},
		"version of a tag": {"v1.2.3", good, nil, "not of the form"},
		"two numbers":      {"1.2", good, nil, "not of the form"},
		"unreleased":       {"1.2.3", "## Unreleased\n\n- A change.\n\n" + good, nil, `is "Unreleased"`},
		"older":            {"1.2.2", good, nil, `is "1.2.3 (2026-11-26)"`},
		"begins like it":   {"1.2.3", "## 1.2.31\n\n- A change.\n", nil, `is "1.2.31"`},
		"no section":       {"1.2.3", "# Changelog\n", nil, `is ""`},
		"an empty section": {"1.2.3", "## 1.2.3\n\n## 1.2.2\n\n- A change.\n", nil, "says nothing"},
		"a new file":       {"1.2.3", good, func(dir string) { write(t, dir, "new", "") }, "not committed"},
		"a changed file": {"1.2.3", good, func(dir string) {
			write(t, dir, "CHANGELOG.md", good+"\n")
		}, "not committed"},
		"another's tag": {"1.2.3", good, func(dir string) {
			git(t, dir, "tag", "v1.2.3")
			git(t, dir, "commit", "-q", "--allow-empty", "-m", "more")
		}, "another commit's"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			git(t, dir, "init", "-q")
			write(t, dir, "CHANGELOG.md", test.changelog)
			git(t, dir, "add", ".")
			git(t, dir, "commit", "-q", "-m", "first")
			if test.spoil != nil {
				test.spoil(dir)
			}
			cmd := exec.Command(script, test.version)
			cmd.Dir = dir
			out, err := cmd.CombinedOutput()
			if ok := err == nil; ok != (test.want == "") || !strings.Contains(string(out), test.want) {
				t.Errorf("%v: %q, want %q", err, out, test.want)
			}
		})
	}
}

// TestReleaseNeedsVersion: the version that git describes is none that somebody has chosen.
func TestReleaseNeedsVersion(t *testing.T) {
	out, err := exec.Command("make", "-s", "-C", root, "release").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "VERSION= is not of the form") {
		t.Errorf("make release: %v\n%s", err, out)
	}
}

// TestLicence: README says in LICENSE's first line what is granted, as the packages do.
func TestLicence(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "LICENSE"))
	if err != nil {
		t.Fatal(err)
	}
	first, _, _ := strings.Cut(string(text), "\n")
	readme, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(readme), "\n## Licence\n\n"+strings.TrimSpace(first)+" ") {
		t.Errorf("README.md does not say %q under \"Licence\"", first)
	}
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
