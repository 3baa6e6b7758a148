package limits

import "golang.org/x/sys/unix"

// Capacity returns for how many connections before the login, at most wanted, and for how many sessions this
// process has file descriptors; no sessions: for any number. A login needs up to three: the client's, the
// auth module's and the mailhost's; those that only wait for their client one. A session needs two. Some are
// set aside for pipes and everything else.
func Capacity(wanted int) (logins, sessions int) {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil || l.Cur > 1<<30 {
		return wanted, 0
	}
	return share(int(l.Cur), wanted)
}

func share(all, wanted int) (logins, sessions int) {
	spare := min(256, all/4)
	logins = min(wanted, (all-spare)/2)
	return logins, max(1, (all-spare-logins)/2)
}
