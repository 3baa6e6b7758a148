package main

import (
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"

	"mailproxy/internal/identity"
)

// systemUser is a system user with its groups.
type systemUser struct {
	name     string
	uid, gid int
	groups   []int
}

// findUser looks a system user up.
func findUser(name string) (*systemUser, error) {
	u, err := user.Lookup(name)
	if err != nil {
		return nil, fmt.Errorf("%w (names are looked up in /etc/passwd only)", err)
	}
	ids, err := u.GroupIds()
	if err != nil {
		return nil, err
	}
	id := &systemUser{name: name}
	numbers := make([]int, 0, len(ids)+2)
	for _, s := range append([]string{u.Uid, u.Gid}, ids...) {
		n, err := strconv.ParseUint(s, 10, 32)
		if err != nil {
			return nil, err
		}
		numbers = append(numbers, int(n))
	}
	id.uid, id.gid, id.groups = numbers[0], numbers[1], numbers[2:]
	return id, nil
}

// become gives up root for good.
func (id *systemUser) become() error {
	groups := make([]uint32, len(id.groups))
	for i, g := range id.groups {
		groups[i] = uint32(g)
	}
	if err := identity.Become(uint32(id.uid), uint32(id.gid), groups); err != nil {
		return fmt.Errorf("becoming user %s: %w", id.name, err)
	}
	return nil
}

// canRead tells whether the user could open a file with these owner, group and mode.
func (id *systemUser) canRead(info fs.FileInfo) bool {
	s, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return false
	}
	need := uint32(0o4)
	if info.IsDir() {
		need = 0o5
	}
	switch {
	case int(s.Uid) == id.uid:
		need <<= 6
	case int(s.Gid) == id.gid || slices.Contains(id.groups, int(s.Gid)):
		need <<= 3
	}
	return uint32(info.Mode().Perm())&need == need
}

// rootOnly returns the configuration file that keeps the daemon from giving up root: one that exists and that
// the user could not read again when it changes; "" if there is none. Debian's rc files belong to group
// courier, and pass. userdb is written by root's tools, root's alone, and new with every change: where that
// module is used, root it is, as with Courier.
func rootOnly(id *systemUser, directory string, modules []string) string {
	files := []string{"authdaemonrc"}
	for _, m := range modules {
		switch m {
		case "authuserdb":
			files = append(files, "userdb", "userdbshadow.dat")
		default:
			files = append(files, m+"rc")
		}
	}
	for _, name := range files {
		path := filepath.Join(directory, name)
		info, err := os.Stat(path)
		if err == nil && !id.canRead(info) {
			return path
		}
	}
	return ""
}
