package pump

import (
	"golang.org/x/sys/unix"
)

// scratchSize is the number of bytes read at once where splice does not serve; and the beginning of a TLS record before them.
const scratchSize = 64<<10 + MaxRecord

// Shop is what all flows of a thread share.
type Shop struct {
	Pipes  Pipes
	read   []byte // holds nothing between turns
	sealed []byte // the same, for what goes out encrypted
}

// NewShop returns a Shop that makes at most pipes pipes.
func NewShop(pipes int) *Shop { return &Shop{Pipes: Pipes{Limit: pipes}} }

// buffers returns the shared buffers, the second one only if it is needed.
func (s *Shop) buffers(seal bool) (read, sealed []byte) {
	if s.read == nil {
		s.read = memory(scratchSize)
	}
	if seal && s.sealed == nil {
		s.sealed = memory(SealedLen(scratchSize))
	}
	return s.read, s.sealed
}

// memory is mapped, not allocated, so that Release can give its pages back exactly.
func memory(size int) []byte {
	b, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return make([]byte, size)
	}
	return b
}

// Release closes unused pipes and gives the pages of the shared buffers back.
func (s *Shop) Release() {
	s.Pipes.Trim()
	for _, b := range [][]byte{s.read, s.sealed} {
		if b != nil {
			_ = unix.Madvise(b, unix.MADV_DONTNEED)
		}
	}
}

// Close is the end of the Shop.
func (s *Shop) Close() {
	s.Pipes.Trim()
	for _, b := range [][]byte{s.read, s.sealed} {
		if b != nil {
			_ = unix.Munmap(b)
		}
	}
	s.read, s.sealed = nil, nil
}
