package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
)

// identity is a system user with its groups.
type identity struct {
	name     string
	uid, gid int
	groups   []int
}

// findUser looks a system user up.
func findUser(name string) (*identity, error) {
	u, err := user.Lookup(name)
	if err != nil {
		return nil, fmt.Errorf("%w (names are looked up in /etc/passwd only)", err)
	}
	ids, err := u.GroupIds()
	if err != nil {
		return nil, err
	}
	id := &identity{name: name}
	if id.uid, err = strconv.Atoi(u.Uid); err != nil {
		return nil, err
	}
	if id.gid, err = strconv.Atoi(u.Gid); err != nil {
		return nil, err
	}
	for _, s := range ids {
		n, err := strconv.Atoi(s)
		if err != nil {
			return nil, err
		}
		id.groups = append(id.groups, n)
	}
	return id, nil
}

// become gives up root for good.
func (id *identity) become() error {
	if err := syscall.Setgroups(id.groups); err != nil {
		return fmt.Errorf("setgroups: %w", err)
	}
	if err := syscall.Setgid(id.gid); err != nil {
		return fmt.Errorf("setgid: %w", err)
	}
	if err := syscall.Setuid(id.uid); err != nil {
		return fmt.Errorf("setuid: %w", err)
	}
	if syscall.Setuid(0) == nil {
		return errors.New("root rights came back")
	}
	return nil
}

// canRead tells whether the user could open a file with these owner, group and mode.
func (id *identity) canRead(info fs.FileInfo) bool {
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
func rootOnly(id *identity, folder string, modules []string) string {
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
		path := filepath.Join(folder, name)
		info, err := os.Stat(path)
		if err == nil && !id.canRead(info) {
			return path
		}
	}
	return ""
}
