package engine

import (
	"golang.org/x/sys/unix"

	"mailproxy/relay/tlsrecord"
)

// scratchSize is the number of bytes read at once where splice does not serve; and the beginning of a TLS
// record before them.
const scratchSize = 64<<10 + tlsrecord.MaxRecord

// buffers are what all sessions of a loop share: they hold nothing between two events.
type buffers struct {
	pipes  pipeStock
	read   []byte
	sealed []byte // for what goes out encrypted
}

// scratch returns the buffers, the second one only if it is needed.
func (b *buffers) scratch(seal bool) (read, sealed []byte) {
	if b.read == nil {
		b.read = mapped(scratchSize)
	}
	if seal && b.sealed == nil {
		b.sealed = mapped(tlsrecord.SealedLen(scratchSize))
	}
	return b.read, b.sealed
}

// mapped returns memory that is mapped, not allocated, so that release can give its pages back exactly.
func mapped(size int) []byte {
	b, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return make([]byte, size)
	}
	return b
}

// release closes unused pipes and gives the pages of the buffers back.
func (b *buffers) release() {
	b.pipes.trim()
	for _, m := range [][]byte{b.read, b.sealed} {
		if m != nil {
			_ = unix.Madvise(m, unix.MADV_DONTNEED)
		}
	}
}

// close is the end of the buffers.
func (b *buffers) close() {
	b.pipes.trim()
	for _, m := range [][]byte{b.read, b.sealed} {
		if m != nil {
			_ = unix.Munmap(m)
		}
	}
	b.read, b.sealed = nil, nil
}
