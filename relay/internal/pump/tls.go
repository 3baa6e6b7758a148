package pump

import "mailproxy/relay/tlsrecord"

// Names of package tlsrecord's.
const (
	MaxPlain  = tlsrecord.MaxPlain
	MaxRecord = tlsrecord.MaxRecord
)

// SealedLen is tlsrecord.SealedLen.
func SealedLen(n int) int { return tlsrecord.SealedLen(n) }

// ErrTruncated is tlsrecord.ErrTruncated.
var ErrTruncated = tlsrecord.ErrTruncated

// Codec and Detached are tlsrecord's.
type (
	Codec    = tlsrecord.Codec
	Detached = tlsrecord.Detached
)
