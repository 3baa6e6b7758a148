package successor

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// usedUp is set where this test binary is the process whose file descriptors are used up.
const usedUp = "SUCCESSOR_TEST_USED_UP"

// TestMain lets this test binary be a process of its own, whose limit of file descriptors is nobody else's.
func TestMain(m *testing.M) {
	if os.Getenv(usedUp) == "" {
		os.Exit(m.Run())
	}
	if err := startWithoutDescriptors(); err != nil {
		os.Stderr.WriteString(err.Error())
		os.Exit(1)
	}
	os.Exit(0)
}

// TestReserve: a process without a free file descriptor starts a successor, and nobody who waits for a
// descriptor gets one of those that this takes.
func TestReserve(t *testing.T) {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), usedUp+"=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

func startWithoutDescriptors() error {
	const limit = 64
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: limit, Max: limit}); err != nil {
		return err
	}
	var r Reserve
	r.Fill()
	if taken := takeAll(); taken == 0 {
		return errors.New("there were no descriptors to use up")
	}
	for range 3 {
		if err := startInVain(&r); err != nil {
			return fmt.Errorf("after a start in vain: %w", err)
		}
	}
	ours, theirs, err := r.Pair()
	if err != nil {
		return err
	}
	defer ours.Close()
	defer theirs.Close()
	if n := takeAll(); n > 0 {
		return errors.New("a pair of the reserve has given descriptors away")
	}
	if err := connected(ours, theirs); err != nil {
		return err
	}
	const test = `test -S /dev/fd/3 && test -S /dev/fd/4 && test "$X" = handoff,carry`
	p, c, err := r.Start(Program{Path: "/bin/sh", Args: []string{"sh", "-c", test}, Variable: "X",
		Inherit: []Descriptor{{"carry", theirs}}})
	if err != nil {
		return err
	}
	defer c.Close()
	state, err := p.Wait()
	if err != nil || !state.Success() {
		return errors.Join(err, errors.New("the program: "+state.String()))
	}
	if n := takeAll(); n > 1+forkFiles { // one was the new process's
		return errors.New("a start has given more away than it took")
	}
	// Whoever is faster once does not prevent it.
	if _, err := r.start(&Program{Path: "/bin/true", Args: []string{"true"}}); err != nil {
		return err
	}
	_, err = r.start(&Program{Path: "/nonexistent"})
	if !errors.Is(err, unix.ENOENT) || !strings.Contains(err.Error(), "/nonexistent") {
		return errors.New("a program that is not there: " + err.Error())
	}
	return nil
}

// startInVain does what a reload does that fails. The file descriptors that the new process was given are
// closed meanwhile, and others take them.
func startInVain(r *Reserve) error {
	defer r.Fill()
	for range reservedPairs {
		ours, theirs, err := r.Pair()
		if err != nil {
			return err
		}
		defer ours.Close()
		theirs.Close()
		takeAll()
	}
	_, err := r.start(&Program{Path: "/nonexistent"})
	if !errors.Is(err, unix.ENOENT) {
		return err
	}
	return nil
}

// takeAll uses up the file descriptors that there are, and returns how many.
func takeAll() (n int) {
	for ; ; n++ {
		if _, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0); err != nil {
			return n
		}
	}
}

func connected(a, b *net.UnixConn) error {
	if _, err := a.Write([]byte("x")); err != nil {
		return err
	}
	n, err := b.Read(make([]byte, 2))
	if err == nil && n != 1 {
		err = errors.New("not the one byte that was written")
	}
	return err
}
