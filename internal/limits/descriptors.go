package limits

import "golang.org/x/sys/unix"

// Capacity returns for how many connections before the login, at most wanted, and for how many sessions this
// process has file descriptors; no sessions: for any number. A login needs two at a time: the client's, and
// the auth module's or later the mailhost's; those that wait for their client or for name servers need one. A
// session needs two. Some are set aside for everything else: pipes, connections that are kept, name servers,
// sessions on their way to relayd.
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
