package successor

import (
	"errors"
	"net"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// Reserve keeps file descriptors open for starting a successor when all others are used up. Socket pairs are
// made in advance. The other descriptors are closed only when they are needed, and no more than are needed at
// once, so that nothing else takes them. The zero value holds none. Its methods may be called by several
// goroutines.
type Reserve struct {
	mu    sync.Mutex
	pairs [][2]*net.UnixConn
	spare []int
}

const (
	// reservedPairs are for the sessions, and for those of logins that are under way.
	reservedPairs = 2
	// forkFiles is what starting a process takes for a moment: a pipe.
	forkFiles = 2
	// reservedSpare is for several attempts at that: others may be faster.
	reservedSpare = 6 * forkFiles
)

// Fill takes as many file descriptors as there are, at most the number reserved. Where there are none, pairs
// that were used are replaced at the expense of the rest: starting a successor that was not ready takes them,
// and so does the next attempt.
func (r *Reserve) Fill() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.pairs) < reservedPairs {
		a, b, err := Pair()
		if isExhausted(err) && len(r.spare) > forkFiles {
			r.giveUp(1) // it also takes one more for a moment than it has in the end
			continue
		}
		if err != nil {
			break
		}
		r.pairs = append(r.pairs, [2]*net.UnixConn{a, b})
	}
	for len(r.spare) < reservedSpare {
		fd, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return
		}
		r.spare = append(r.spare, fd)
	}
}

// Pair returns two connected SOCK_SEQPACKET connections, which are the caller's to close.
func (r *Reserve) Pair() (a, b *net.UnixConn, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := len(r.pairs); n > 0 {
		pair := r.pairs[n-1]
		r.pairs = r.pairs[:n-1]
		return pair[0], pair[1], nil
	}
	return Pair()
}

// Start starts a program with what it is to inherit, and a connection, for the sessions, whose other end it
// returns.
func (r *Reserve) Start(p Program) (*os.Process, *net.UnixConn, error) {
	ours, theirs, err := r.Pair()
	if err != nil {
		return nil, nil, err
	}
	defer theirs.Close()
	p.Inherit = append([]Descriptor{{Handoff, theirs}}, p.Inherit...)
	process, err := r.start(&p)
	if err != nil {
		ours.Close()
		return nil, nil, err
	}
	return process, ours, nil
}

func (r *Reserve) start(p *Program) (*os.Process, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		process, err := p.start()
		if !isExhausted(err) || len(r.spare) == 0 {
			return process, err
		}
		r.giveUp(forkFiles)
	}
}

func isExhausted(err error) bool { return errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) }

// giveUp closes n of the spare file descriptors, or what is left of them.
func (r *Reserve) giveUp(n int) {
	n = min(n, len(r.spare))
	for _, fd := range r.spare[:n] {
		unix.Close(fd)
	}
	r.spare = r.spare[n:]
}
