package engine

import (
	"golang.org/x/sys/unix"
)

// pipeSize is asked for with F_SETPIPE_SZ: the system's usual limit for a process without rights. The
// kernel may grant less (fs.pipe-user-pages-soft), which costs CPU time and nothing else.
const pipeSize = 1 << 20

// pipe carries bytes from socket to socket inside the kernel.
type pipe struct {
	r, w int
	held int // bytes in it
	size int
}

// pipeStock is a stock of pipes for bulk transfers, for use by one thread at a time. The zero value hands
// out none.
type pipeStock struct {
	limit int // pipes in existence at most
	made  int
	idle  []*pipe
}

// get returns an empty pipe, or nil when there are enough already or the system has none left.
func (p *pipeStock) get() *pipe {
	if n := len(p.idle); n > 0 {
		pp := p.idle[n-1]
		p.idle = p.idle[:n-1]
		return pp
	}
	if p.made >= p.limit {
		return nil
	}
	var fd [2]int
	if err := unix.Pipe2(fd[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return nil
	}
	size, err := unix.FcntlInt(uintptr(fd[0]), unix.F_SETPIPE_SZ, pipeSize)
	if err != nil {
		size, err = unix.FcntlInt(uintptr(fd[0]), unix.F_GETPIPE_SZ, 0)
	}
	if err != nil || size < 64<<10 {
		// A pipe of a page or two, as the kernel gives beyond the user's quota, is slower than copying.
		unix.Close(fd[0])
		unix.Close(fd[1])
		return nil
	}
	p.made++
	return &pipe{r: fd[0], w: fd[1], size: size}
}

// put takes a pipe back: kept when empty, closed when bytes are left in it.
func (p *pipeStock) put(pp *pipe) {
	if pp.held == 0 {
		p.idle = append(p.idle, pp)
		return
	}
	p.close(pp)
}

func (p *pipeStock) close(pp *pipe) {
	unix.Close(pp.r)
	unix.Close(pp.w)
	p.made--
}

// trim closes the pipes that nobody uses.
func (p *pipeStock) trim() {
	for _, pp := range p.idle {
		p.close(pp)
	}
	p.idle = nil
}
