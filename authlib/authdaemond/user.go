package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"mailproxy/internal/identity"
)

// become gives up root for good.
func become(id *identity.User) error {
	if err := identity.Become(id.UID, id.GID, id.Groups); err != nil {
		return fmt.Errorf("becoming user %s: %w", id.Name, err)
	}
	return nil
}

// canRead tells whether the user could open a file with these owner, group and mode.
func canRead(id *identity.User, info fs.FileInfo) bool {
	s, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return false
	}
	need := uint32(0o4)
	if info.IsDir() {
		need = 0o5
	}
	switch {
	case s.Uid == id.UID:
		need <<= 6
	case s.Gid == id.GID || slices.Contains(id.Groups, s.Gid):
		need <<= 3
	}
	return uint32(info.Mode().Perm())&need == need
}

// rootOnly returns the configuration file that keeps the daemon from giving up root: one that exists and that
// the user could not read again when it changes; "" if there is none. Debian's rc files belong to group
// courier, and pass. userdb is written by root's tools, root's alone, and new with every change: where that
// module is used, root it is, as with Courier.
func rootOnly(id *identity.User, directory string, modules []string) string {
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
		if err == nil && !canRead(id, info) {
			return path
		}
	}
	return ""
}
