package ops

import (
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mailproxy/tests/harness"
)

// standIn is Go, but each program that is built does nothing, and is said to hold one module: the real ones
// for an architecture that is not this machine's take a minute more.
const standIn = `#!/bin/sh
set -eu
case "$1 ${2-}" in
build\ *) ;;
"version -m") echo dep golang.org/x/sys && exit ;;
*) exec go "$@" ;;
esac
out= names=
while shift; [ $# -gt 0 ]; do
	case $1 in
	-o) out=$PWD/$2 ;;
	./*) names="$names ${1##*/}" ;;
	esac
done
cd "${0%/*}"
for name in $names; do
	[ -e "program.$GOARCH" ] || go build -trimpath -o "program.$GOARCH" program.go
	cp "program.$GOARCH" "$out$name"
done
`

// TestArchitectures: the packages for arm64 hold programs for it, and for the rest are those for amd64: the
// same files, owners, modes, scripts and dependencies.
func TestArchitectures(t *testing.T) {
	dir := harness.Dir(t)
	write(t, filepath.Join(dir, "go"), standIn, 0o755)
	write(t, filepath.Join(dir, "program.go"), "package main\n\nfunc main() {}\n", 0o644)
	dist := buildAgain(t, func(string) {}, "ARCHITECTURES=amd64 arm64", "GO="+filepath.Join(dir, "go"))
	for _, format := range []struct {
		name     string
		describe func(t *testing.T, file string) string
		unpack   func(t *testing.T, file, dir string)
		names    map[elf.Machine]string // of the architecture
	}{
		{"deb", describeDeb, unpackDeb, map[elf.Machine]string{elf.EM_X86_64: "amd64", elf.EM_AARCH64: "arm64"}},
		{"rpm", describeRPM, unpackRPM, map[elf.Machine]string{elf.EM_X86_64: "x86_64", elf.EM_AARCH64: "aarch64"}},
	} {
		t.Run(format.name, func(t *testing.T) {
			descriptions := map[elf.Machine]string{}
			for machine, arch := range format.names {
				found, err := filepath.Glob(filepath.Join(dist, "*"+arch+"."+format.name))
				if err != nil || len(found) != 1 {
					t.Fatalf("%s: %q, %v", arch, found, err)
				}
				root := filepath.Join(harness.Dir(t), "root")
				format.unpack(t, found[0], root)
				wantPrograms(t, root, machine)
				text := format.describe(t, found[0])
				if !strings.HasPrefix(text, arch+"\n") {
					t.Errorf("%s is for another architecture: %.40q", found[0], text)
				}
				descriptions[machine] = strings.TrimPrefix(text, arch)
			}
			ours, theirs := descriptions[elf.EM_X86_64], descriptions[elf.EM_AARCH64]
			if strings.Count(ours, "/mailproxy") < 10 {
				t.Errorf("not a description of the package:\n%s", ours)
			}
			if ours != theirs {
				t.Errorf("amd64:\n%s\narm64:\n%s", ours, theirs)
			}
		})
	}
}

// wantPrograms: all programs are there, for this machine and without a need of libraries.
func wantPrograms(t *testing.T, root string, machine elf.Machine) {
	t.Helper()
	programs, err := filepath.Glob(filepath.Join(root, "usr/lib/mailproxy/*"))
	if err != nil || len(programs) < 5 {
		t.Fatalf("programs: %q, %v", programs, err)
	}
	for _, path := range programs {
		f, err := elf.Open(path)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		needsLoader := slices.ContainsFunc(f.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP })
		if f.Machine != machine || f.Class != elf.ELFCLASS64 || f.Type != elf.ET_EXEC || needsLoader {
			t.Errorf("%s: %v %v %v, needs a loader: %v", path, f.Machine, f.Class, f.Type, needsLoader)
		}
		f.Close()
	}
}

// describeDeb returns a package's architecture, and then all that is not its programs' contents: fields,
// scripts and lists, and the names, owners and modes of the files.
func describeDeb(t *testing.T, file string) string {
	t.Helper()
	control := filepath.Join(harness.Dir(t), "control")
	harness.Run(t, "", "dpkg-deb", "-e", file, control)
	text := strings.TrimSpace(harness.Run(t, "", "dpkg-deb", "-f", file, "Architecture")) + "\n"
	entries, err := os.ReadDir(control)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		content := harness.ReadFile(t, filepath.Join(control, entry.Name()))
		text += entry.Name() + ":\n"
		for line := range strings.Lines(content) {
			program := entry.Name() == "md5sums" && strings.Contains(line, " usr/lib/mailproxy/")
			if !program && !strings.HasPrefix(line, "Architecture:") && !strings.HasPrefix(line, "Installed-Size:") {
				text += line
			}
		}
	}
	const list = `dpkg-deb --fsys-tarfile "$0" | tar -tv --numeric-owner | awk '{ print $1, $2, $6, $7, $8 }'`
	return text + harness.Run(t, "", "sh", "-c", list, file)
}

func unpackDeb(t *testing.T, file, dir string) {
	t.Helper()
	harness.Run(t, "", "dpkg-deb", "-x", file, dir)
}

// describeRPM is describeDeb for an rpm.
func describeRPM(t *testing.T, file string) string {
	t.Helper()
	const fields = `%{ARCH}\n%{NAME} %{VERSION} %{RELEASE} %{OS}\n[%{FILEUSERNAME} %{FILEGROUPNAME} ` +
		`%{FILEMODES:perms} %{FILEFLAGS:fflags} %{FILENAMES} %{FILELINKTOS}\n]`
	text := harness.Run(t, "", "rpm", "-qp", "--qf", fields, file)
	for _, query := range []string{"--scripts", "--requires", "--recommends", "--provides"} {
		text += query + "\n" + harness.Run(t, "", "rpm", "-qp", query, file)
	}
	return strings.NewReplacer("(aarch-64)", "", "(x86-64)", "").Replace(text)
}

// unpackRPM installs an rpm whatever its architecture, without its scripts, in a root of its own.
func unpackRPM(t *testing.T, file, dir string) {
	t.Helper()
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("rpm", "--root", dir, "--dbpath", "/var/lib/rpm", "--force-debian", "--ignorearch",
		"--nodeps", "--noscripts", "-i", file).CombinedOutput()
	if err != nil || strings.Contains(string(out), "error:") {
		t.Fatalf("%v\n%s", err, out)
	}
}
