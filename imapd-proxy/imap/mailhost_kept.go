package imap

import (
	"strings"
)

// kept collects what a mailhost says to the client and not to us: untagged responses, byte for byte, with
// their literals.
type kept struct {
	bytes []byte
	limit int
	// begin is where the response under way begins.
	begin int
	// over: the response under way does not fit and is going to be dropped; dropped: one was.
	over, dropped bool
}

// see takes what is consumed of the connection.
func (k *kept) see(p []byte) {
	if k.over = k.over || len(k.bytes)+len(p) > k.limit; !k.over {
		k.bytes = append(k.bytes, p...)
	}
}

// end ends a response, which is kept if it is the client's.
func (k *kept) end(keep bool) {
	if !keep || k.over {
		k.bytes = k.bytes[:k.begin]
	}
	k.dropped = k.dropped || keep && k.over
	k.begin, k.over = len(k.bytes), false
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
