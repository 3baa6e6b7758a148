package pump

import (
	"fmt"
	"io"
)

const (
	// MaxPlain is the longest plaintext of one TLS record (RFC 8446 section 5.1).
	MaxPlain = 16 << 10
	// MaxRecord is the longest record, header included (RFC 5246 allows more expansion than RFC 8446).
	MaxRecord = headerLen + MaxPlain + 2048
	headerLen = 5
	overhead  = headerLen + 8 + 16 + 1
)

// SealedLen is an upper bound of the length of n bytes when sealed.
func SealedLen(n int) int { return n + (n/MaxPlain+3)*overhead }

// ErrTruncated ends a TLS stream that stopped without close_notify (RFC 8446 section 6.1): it may have been cut.
var ErrTruncated = fmt.Errorf("TLS stream cut off: %w", io.ErrUnexpectedEOF)

// Codec opens what the peer of a TLS connection sealed and seals what is for the peer, by one goroutine at a time. It is
// record.Codec.
type Codec interface {
	// Split tells how long the first record of raw is, header included; 0 when raw does not hold all of it.
	Split(raw []byte) (int, error)
	// Open decrypts one whole record in place. data is what it carries (a part of rec); ended is the peer's close_notify.
	Open(rec []byte) (data []byte, ended bool, err error)
	// Seal appends p to dst as records, and before them what the peer has asked for.
	Seal(dst, p []byte) ([]byte, error)
	// SealEnd appends a close_notify alert.
	SealEnd(dst []byte) ([]byte, error)
	// Asked reports that the peer waits for something that Seal sends, even without data.
	Asked() bool
	// Armed reports whether Rest has something to give back.
	Armed() bool
	// Rest gives back what an idle connection does not need.
	Rest()
	// Marshal returns keys and counters, which are secret, for another process to carry on.
	Marshal() []byte
}

// Detached is a TLS connection without crypto/tls. The bytes that follow are still in the connection below.
type Detached struct {
	Codec Codec
	Plain []byte // decrypted already and not yet read by anybody
	Raw   []byte // the beginning of a record that has not wholly arrived
	Ended bool   // close_notify has been received
}
