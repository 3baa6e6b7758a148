// Package local is the local server of an account that lives here: who it runs as, its home directory,
// becoming it (Process.Exec) or starting it beside us (Process.Start), and giving up root rights for a
// session that is relayed (DropRoot).
//
// It changes the whole process: user, groups, umask, working directory, signals. A program that serves
// several connections calls nothing of it but DropRootAtStart, before the first connection. It deliberately
// knows nothing of IMAP, POP3, settings and account databases.
package local

import (
	"errors"
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"

	"mailproxy/internal/identity"
)

// Server is the local server to run, and who it runs as.
type Server struct {
	// Path is the program, Args its arguments (without the program's own name).
	Path string
	Args []string
	// Environ is its whole environment.
	Environ []string
	// Home becomes its working directory. Required.
	Home string
	// SystemUser, when not empty, names the user whose uid, gid and supplementary groups it gets. Else UID
	// and GID, and the gid as the only supplementary group.
	SystemUser string
	UID, GID   *uint32
	// NonBlocking is the mode of its standard input and output: Courier's imapd expects it on, courierpop3d
	// off.
	NonBlocking bool
	// Skeleton, when not empty, is the directory that a missing home is made from.
	Skeleton string
	// AddressSpace, when not 0, is the limit on its address space as the shell's "ulimit -v" takes it (KiB).
	AddressSpace int
	// Umask is its file mode creation mask; negative = ours.
	Umask int
}

// The ways in which Exec and Start fail, besides system errors.
var (
	// ErrRoot says that an account belongs to root: no mail session runs as root.
	ErrRoot = identity.ErrRoot
	// ErrNotRoot says that we cannot become the account's user because we are not root ourselves.
	ErrNotRoot = errors.New("not started as root, so local accounts cannot be served")
	// ErrHome says that the home directory cannot be entered.
	ErrHome = errors.New("home directory cannot be entered")
	// ErrProgram says that the program cannot be run.
	ErrProgram = errors.New("program cannot be run")
	// ErrChanged says that Exec or DropRoot failed after it had begun to make this process somebody else:
	// it has to end.
	ErrChanged = errors.New("this process is no longer what it was")
)

// prepare checks all that can be checked before the process changes, makes the home if asked, and sets the
// file mode creation mask.
func (l *Server) prepare() (*principal, error) {
	id, err := l.identity()
	if err != nil {
		return nil, err
	}
	if err := unix.Access(l.Path, unix.X_OK); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrProgram, err)
	}
	if l.Home == "" {
		return nil, fmt.Errorf("%w: the account has none", ErrHome)
	}
	if l.Skeleton != "" {
		if err := makeHome(l.Home, l.Skeleton, int(id.UID), int(id.GID)); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrHome, err)
		}
	}
	if l.Umask >= 0 {
		unix.Umask(l.Umask)
	}
	return id, nil
}

// command returns the path to exec and after it argv. A limit on the address space is set by the shell: a
// Go process could set it only for itself, far below what it uses already, and then not be sure of the
// memory for its last steps.
func (l *Server) command() []string {
	if l.AddressSpace == 0 {
		return append([]string{l.Path, l.Path}, l.Args...)
	}
	const shell = "/bin/sh"
	limit := strconv.Itoa(l.AddressSpace)
	return append([]string{shell, shell, "-c", `ulimit -v "$0" && exec "$@"`, limit, l.Path}, l.Args...)
}
