package frontend

import "strconv"

// maxHops is how many proxies a session may go through, this one included: Dovecot's number.
//
// A mailhost that is the very address the client came to is refused at once, see isOurselves. Over several
// addresses or several machines a loop shows only in its length, so proxies tell each other how many may
// still follow: IMAP in the field x-proxy-ttl of ID, POP3 in XCLIENT's TTL, as Dovecot's proxies do.
const maxHops = 5

// LimitHops takes the number of proxies that may still come, this one included, from one in front of us. It
// may be anybody's word: a number above our own means nothing, and who says a lower one harms his own login
// alone.
func (s *Conn) LimitHops(text string) {
	if n, err := strconv.ParseUint(text, 10, 8); err == nil && n < maxHops {
		s.hopsGone = max(s.hopsGone, maxHops-int(n))
	}
}

// hopsLeft is how many proxies may still come behind this one.
func (s *Conn) hopsLeft() int { return maxHops - 1 - s.hopsGone }
