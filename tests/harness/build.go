package harness

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// programDirectories are the main packages whose programs tests run.
var programDirectories = []string{
	"imapd-proxy", "pop3d-proxy", "authlib/authdaemond", "relay/relayd", "relay/mailproxyctl",
}

// raceVar in the environment asks for programs with the race detector although the test is built without it,
// as "make test" does: the programs are what races are looked for in, and the tests only drive them.
const raceVar = "MAILPROXY_TEST_RACE"

// racePrograms reports whether Bin's programs have the race detector.
func racePrograms() bool { return raceEnabled || os.Getenv(raceVar) != "" }

// Bin returns the path of one of the project's programs: "imapd-proxy", "pop3d-proxy", "authdaemond",
// "relayd" or "mailproxyctl". It has the race detector when the test has, or when raceVar asks for it.
func Bin(t testing.TB, name string) string {
	t.Helper()
	if racePrograms() {
		return program(t, "race", name)
	}
	return program(t, "plain", name)
}

// PlainBin returns the path of the program as it is shipped, for measurements and for many processes at once.
func PlainBin(t testing.TB, name string) string {
	t.Helper()
	return program(t, "plain", name)
}

func program(t testing.TB, kind, name string) string {
	t.Helper()
	Root(t)
	path := filepath.Join(os.Getenv(dirVar), "bin", kind, name)
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("program %s was not built: %v", name, err)
	}
	if err := dependOnSources(); err != nil {
		t.Fatal(err)
	}
	return path
}

// dependOnSources opens the project's source files, so that "go test" does not take a result from its
// cache after the programs have changed. It notes once what a run of the tests has opened.
var dependOnSources = sync.OnceValue(func() error {
	root := os.Getenv(rootVar)
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (strings.HasPrefix(d.Name(), ".") || path == filepath.Join(root, "tests")) &&
			path != root:
			return filepath.SkipDir
		case strings.HasSuffix(path, ".go") || d.Name() == "go.mod":
			f, err := os.Open(path)
			if err != nil {
				return err
			}
			f.Close()
		}
		return nil
	})
})

// buildPrograms builds the programs into a cache that the packages of one "go test ./..." share ("go
// build" leaves alone what is up to date) and links them into bin, where no later build touches them.
func buildPrograms(root, bin string) error {
	cache, err := os.UserCacheDir()
	if err != nil {
		return err
	}
	cache = filepath.Join(cache, "mailproxy-test", strings.ReplaceAll(root, "/", "_"))
	kinds := []string{"plain"}
	if racePrograms() {
		kinds = append(kinds, "race")
	}
	for _, kind := range kinds {
		out := filepath.Join(cache, kind)
		if err := os.MkdirAll(out, 0o755); err != nil {
			return err
		}
		unlock, err := lock(filepath.Join(cache, kind+".lock"))
		if err != nil {
			return err
		}
		err = build(root, kind, out)
		if err == nil {
			err = copyPrograms(out, filepath.Join(bin, kind))
		}
		unlock()
		if err != nil {
			return err
		}
	}
	return nil
}

func build(root, kind, out string) error {
	env := append(os.Environ(), "CGO_ENABLED=0")
	if kind == "race" {
		env[len(env)-1] = "CGO_ENABLED=1"
	}
	args := append(buildArgs(kind), "-o", out+"/")
	for _, directory := range programDirectories {
		args = append(args, "./"+directory)
	}
	cmd := exec.Command("go", args...)
	cmd.Dir, cmd.Env = root, env
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build the programs: %w\n%s", err, text)
	}
	return nil
}

// buildArgs are the arguments of go build, for a plain program those of the Makefile.
func buildArgs(kind string) []string {
	args := []string{
		"build",
		"-trimpath",
		"-buildvcs=false",
		"-ldflags=-s -w -X mailproxy/internal/version.Version=test",
	}
	if kind == "race" {
		args = append(args, "-race")
	}
	return args
}

func copyPrograms(from, to string) error {
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	for _, directory := range programDirectories {
		name := filepath.Base(directory)
		text, err := os.ReadFile(filepath.Join(from, name))
		if os.IsNotExist(err) {
			continue
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(to, name), text, 0o755)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func lock(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return func() { f.Close() }, nil
}
