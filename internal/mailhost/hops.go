package mailhost

import "strconv"

// maxHops is how many proxies a session may go through, this one included: Dovecot's number.
//
// A mailhost that is the very address the client came to is refused at once, see package login. Over several
// addresses or several machines a loop shows only in its length, so proxies tell each other how many may
// still follow: IMAP in the field x-proxy-ttl of ID, POP3 in XCLIENT's TTL, as Dovecot's proxies do.
const maxHops = 5

// Hops counts the proxies that a session has come through. Its zero value is a session that came from a
// client.
type Hops struct{ gone int }

// Limit takes the number of proxies that may still come, this one included, from one in front of us. The
// value is untrusted: a number above our own means nothing, and a lower one harms the login of its sender
// alone.
func (h *Hops) Limit(text string) {
	if n, err := strconv.ParseUint(text, 10, 8); err == nil && n < maxHops {
		h.gone = max(h.gone, maxHops-int(n))
	}
}

// Left is how many proxies may still come after this one.
func (h Hops) Left() int { return maxHops - 1 - h.gone }
