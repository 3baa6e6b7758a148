// Package peercred tells which user is at the other end of a unix socket, and whether that user may be there.
// The kernel reports, for a caller, the user and the groups of the process that connected; for a listener,
// those of the process that called listen(2), see unix(7). With systemd's socket activation that is root.
//
// It deliberately lacks names from NSS: a static program reads /etc/passwd and /etc/group only.
package peercred

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Set is users and groups that are accepted. Root is always among them, and so is the user that the process
// had when the Set was made: such a process can do all that this one can.
type Set struct {
	uids, gids []uint32
	names      string
}

// Names splits a list of users and @groups, separated by commas or blanks.
func Names(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' || r == '\t' })
}

// Own is root and this process's user.
func Own() *Set { return &Set{uids: []uint32{0, uint32(os.Geteuid())}, names: "root"} }

// NewSet looks up users and @groups, by name or number. The error names those that do not exist.
func NewSet(names ...string) (*Set, error) {
	s := Own()
	s.names = strings.Join(append([]string{s.names}, names...), ", ")
	var errs []error
	for _, name := range names {
		uid, gid, isGroup, err := lookup(name)
		switch {
		case err != nil:
			errs = append(errs, err)
		case isGroup:
			s.gids = append(s.gids, gid)
		default:
			s.uids = append(s.uids, uid)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return s, nil
}

// lookup finds a user, or the group after an @. Digits are a number, of a user that has a name or not.
func lookup(name string) (uid, gid uint32, isGroup bool, err error) {
	group, isGroup := strings.CutPrefix(name, "@")
	id := group
	switch {
	case group != "" && strings.Trim(group, "0123456789") == "":
	case isGroup:
		g, err := user.LookupGroup(group)
		if err != nil {
			return 0, 0, true, fmt.Errorf("no group %q in /etc/group", group)
		}
		id = g.Gid
	default:
		u, err := user.Lookup(name)
		if err != nil {
			return 0, 0, false, fmt.Errorf("no user %q in /etc/passwd", name)
		}
		id = u.Uid
	}
	n, err := number(id)
	if isGroup {
		return 0, n, true, err
	}
	return n, 0, false, err
}

// number parses an id. 2^32-1 is nobody's: system calls read it as "unchanged".
func number(text string) (uint32, error) {
	n, err := strconv.ParseUint(text, 10, 32)
	if err == nil && n == 1<<32-1 {
		err = errors.New("not a user's or group's number")
	}
	if err != nil {
		return 0, fmt.Errorf("id %q: %w", text, err)
	}
	return uint32(n), nil
}

// Refused is the error for a process that may not be at the other end.
type Refused struct {
	PID      int32
	UID, gid uint32
	names    string // who may
}

func (r *Refused) Error() string {
	name := ""
	if u, err := user.LookupId(strconv.FormatUint(uint64(r.UID), 10)); err == nil {
		name = " (" + u.Username + ")"
	}
	return fmt.Sprintf("user %d%s, group %d, process %d is not one of those who may be there: %s",
		r.UID, name, r.gid, r.PID, r.names)
}

// Check returns nil when the process at the other end of a connected unix socket belongs to the set, by its
// user, its group or one of its supplementary groups; a *Refused when it does not.
func (s *Set) Check(conn syscall.Conn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	cerr := raw.Control(func(fd uintptr) { err = s.CheckDescriptor(int(fd)) })
	return errors.Join(cerr, err)
}

// CheckDescriptor is Check for a file descriptor.
func (s *Set) CheckDescriptor(fd int) error {
	cred, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return os.NewSyscallError("SO_PEERCRED", err)
	}
	if slices.Contains(s.uids, cred.Uid) {
		return nil
	}
	if len(s.gids) > 0 {
		groups, err := peerGroups(fd)
		if err != nil {
			return os.NewSyscallError("SO_PEERGROUPS", err)
		}
		for _, gid := range append(groups, cred.Gid) {
			if slices.Contains(s.gids, gid) {
				return nil
			}
		}
	}
	return &Refused{PID: cred.Pid, UID: cred.Uid, gid: cred.Gid, names: s.names}
}

// peerGroups returns the supplementary groups of the process at the other end. Most have a few; the kernel
// says how many when there are more.
func peerGroups(fd int) ([]uint32, error) {
	const maxGroups = 65536 // NGROUPS_MAX
	groups := make([]uint32, 32)
	for {
		size := uint32(len(groups)) * 4
		_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_PEERGROUPS,
			uintptr(unsafe.Pointer(unsafe.SliceData(groups))), uintptr(unsafe.Pointer(&size)), 0)
		switch {
		case errno == unix.ERANGE && size/4 <= maxGroups && int(size/4) > len(groups):
			groups = make([]uint32, size/4)
		case errno != 0:
			return nil, errno
		default:
			return groups[:size/4], nil
		}
	}
}

// Listener returns nil when the process that listens at the other end of a connection is root's, of this
// process's own user, or of one of the users named. Names are looked up only for other listeners; names
// without a user are ignored.
func Listener(conn syscall.Conn, names ...string) error {
	var refused *Refused
	if err := Own().Check(conn); !errors.As(err, &refused) {
		return err
	}
	for _, name := range names {
		if uid, _, isGroup, err := lookup(name); err == nil && !isGroup && uid == refused.UID {
			return nil
		}
	}
	refused.names = strings.Join(append([]string{"root"}, names...), ", ")
	return refused
}
