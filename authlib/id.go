package authlib

import (
	"errors"
	"strconv"
)

// ErrID says that a text is not the id of a user or group that an account may have.
var ErrID = errors.New("not a decimal number from 1 to 4294967294")

// ParseID parses a user or group id as account databases and the authdaemon protocol write it: decimal digits
// with nothing before or after them. The error is [ErrID], for 0 and 4294967295 too: 0 is root, and the
// system calls that change ids take 2^32-1 as -1, which leaves a process as it is.
func ParseID(s string) (uint32, error) {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, ErrID
		}
	}
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil || n == 0 || n == 1<<32-1 {
		return 0, ErrID
	}
	return uint32(n), nil
}
