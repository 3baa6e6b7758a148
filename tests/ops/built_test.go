package ops

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"mailproxy/tests/harness"
)

// packaged are the files that packages are made of.
var packaged = regexp.MustCompile(
	`^(imapd-proxy|pop3d-proxy|authlib|relay|internal|etc|man|docs|packaging)/|` +
		`^(go\.mod|go\.sum|Makefile|LICENSE|(CHANGELOG|README|SECURITY)\.md)$`)

// builtPackage returns the package of a format, deb or rpm, that "make packages" has built for this machine,
// which must be younger than what it is built of.
func builtPackage(t *testing.T, format string) string {
	t.Helper()
	const first = `run "make packages" first, as "make test" does`
	root := harness.Root(t)
	pattern := "mailproxy_*_" + strings.TrimSpace(harness.Run(t, "", "dpkg", "--print-architecture")) + ".deb"
	if format == "rpm" {
		pattern = "mailproxy-*." + strings.TrimSpace(harness.Run(t, "", "uname", "-m")) + ".rpm"
	}
	found, err := filepath.Glob(filepath.Join(root, "dist", pattern))
	if err != nil || len(found) != 1 {
		t.Fatalf("dist/ holds %d packages %s: %s (%v)", len(found), pattern, first, err)
	}
	built, err := os.Stat(found[0])
	if err != nil {
		t.Fatal(err)
	}
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		name, _ := filepath.Rel(root, path)
		if err != nil || d.IsDir() || !packaged.MatchString(name) || strings.HasSuffix(name, "_test.go") ||
			strings.Contains(name, "/testdata/") {
			return err
		}
		info, err := d.Info()
		if err == nil && info.ModTime().After(built.ModTime()) {
			err = fmt.Errorf("%s is older than %s: %s", filepath.Base(found[0]), name, first)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found[0]
}

// buildAgain builds packages for this machine of a copy of the source, in another directory, with another
// umask and time zone, after a change to the copy, and returns its dist/.
func buildAgain(t *testing.T, change func(dir string), variables ...string) string {
	t.Helper()
	root, dir := harness.Root(t), filepath.Join(harness.Dir(t), "copy")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	// What git keeps, as it is now; new files have to be added to be in it, as for a release.
	const copies = `cd "$0" && git ls-files -z | tar -c --null -T - | tar -x -m -C "$1"`
	harness.Run(t, "", "sh", "-c", copies, root, dir)
	change(dir)
	git := strings.TrimSpace(harness.Run(t, "", "git", "-C", root, "rev-parse", "--absolute-git-dir"))
	script := `umask 077; exec make -C "$0" packages ARCHITECTURES="$(go env GOARCH)" "$@"`
	cmd := exec.Command("sh", append([]string{"-c", script, dir}, variables...)...)
	// Versions and time are the commit's.
	cmd.Env = append(os.Environ(), "GIT_DIR="+git, "GIT_WORK_TREE="+dir, "GIT_OPTIONAL_LOCKS=0",
		"TZ=Pacific/Apia", "MAKEFLAGS=", "MAKELEVEL=")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("make packages: %v\n%s", err, out)
	}
	return filepath.Join(dir, "dist")
}

// TestReproducible: a second build, elsewhere, makes the same bytes, and SHA256SUMS has their sums.
func TestReproducible(t *testing.T) {
	again := buildAgain(t, func(string) {})
	sums := harness.Run(t, "", "sh", "-c", `cd "$1" && sha256sum -c SHA256SUMS`, "sh", again)
	for _, format := range []string{"deb", "rpm"} {
		first := builtPackage(t, format)
		name := filepath.Base(first)
		if !strings.Contains(sums, name+": OK\n") {
			t.Errorf("%s (of another commit? run \"make packages\") is not in SHA256SUMS:\n%s", name, sums)
			continue
		}
		if out, err := exec.Command("cmp", first, filepath.Join(again, name)).CombinedOutput(); err != nil {
			t.Errorf("two builds differ: %v: %s", err, out)
		}
	}
}
