package inetd

import "errors"

// Local is the local server to run, and who it runs as.
type Local struct {
	// Path is the program, Args its arguments (without the program's own name).
	Path string
	Args []string
	// Environ is its whole environment.
	Environ []string
	// Home becomes its working directory. Required.
	Home string
	// SystemUser, when not empty, names the user whose uid, gid and supplementary groups it gets. Else UID and GID, and
	// the gid as the only supplementary group.
	SystemUser string
	UID, GID   *uint32
	// NonBlocking is the mode of its standard input and output: Courier's imapd expects it on, courierpop3d off.
	NonBlocking bool
	// Skeleton, when not empty, is the folder that a missing home is made from.
	Skeleton string
	// AddressSpace, when not empty, is the limit on its address space as the shell's "ulimit -v" takes it (KiB).
	AddressSpace string
}

// The ways in which Exec fails, besides system errors.
var (
	// ErrRoot says that an account has uid 0 (or gid 0): no mail session runs as root.
	ErrRoot = errors.New("the account belongs to root")
	// ErrNotRoot says that we can not become the account's user because we are not root ourselves.
	ErrNotRoot = errors.New("not started as root, so local accounts can not be served")
	// ErrHome says that the home directory can not be entered.
	ErrHome = errors.New("home directory can not be entered")
	// ErrProgram says that the program can not be run.
	ErrProgram = errors.New("program can not be run")
)

// Exec becomes the account's user and then the program, with conn as its standard input and output. It returns only when
// that failed; from ErrHome and system errors on, the process may already be another user, and should end.
func Exec(conn Conn, l *Local) error { return ErrNotRoot }
