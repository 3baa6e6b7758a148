package imap

import (
	"strings"
)

// untagged collects the untagged responses of a mailhost that are for the client, not for us: byte for byte,
// with their literals.
type untagged struct {
	bytes []byte
	limit int
	// begin is where the response under way begins.
	begin int
	// over: the response under way does not fit and is going to be dropped; dropped: one was.
	over, dropped bool
}

// see takes what is consumed of the connection.
func (u *untagged) see(p []byte) {
	if u.over = u.over || len(u.bytes)+len(p) > u.limit; !u.over {
		u.bytes = append(u.bytes, p...)
	}
}

// end ends a response, which is kept if it is the client's.
func (u *untagged) end(keep bool) {
	if !keep || u.over {
		u.bytes = u.bytes[:u.begin]
	}
	u.dropped = u.dropped || keep && u.over
	u.begin, u.over = len(u.bytes), false
}

// forClient says whether an untagged response is passed on: all but the mailhost's capabilities, about which
// IMAP_PROXY_FOREIGN decides, and a BYE that was none.
func (r response) forClient() bool {
	if r.tag != "*" || r.status == "BYE" || strings.EqualFold(r.status, "CAPABILITY") {
		return false
	}
	return !r.isCapabilityCode()
}

func (r response) isCapabilityCode() bool {
	word, _, _ := strings.Cut(r.code, " ")
	return strings.EqualFold(word, "CAPABILITY")
}
