package inetd

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"mailproxy/internal/identity"
)

// Local is the local server to run, and who it runs as.
type Local struct {
	// Path is the program, Args its arguments (without the program's own name).
	Path string
	Args []string
	// Environ is its whole environment.
	Environ []string
	// Home becomes its working directory. Required.
	Home string
	// SystemUser, when not empty, names the user whose uid, gid and supplementary groups it gets. Else UID and GID, and
	// the gid as the only supplementary group.
	SystemUser string
	UID, GID   *uint32
	// NonBlocking is the mode of its standard input and output: Courier's imapd expects it on, courierpop3d off.
	NonBlocking bool
	// Skeleton, when not empty, is the folder that a missing home is made from.
	Skeleton string
	// AddressSpace, when not 0, is the limit on its address space as the shell's "ulimit -v" takes it (KiB).
	AddressSpace int
	// Umask is its file mode creation mask; negative = ours.
	Umask int
}

// The ways in which Exec and Start fail, besides system errors.
var (
	// ErrRoot says that an account belongs to root: no mail session runs as root.
	ErrRoot = identity.ErrRoot
	// ErrNotRoot says that we can not become the account's user because we are not root ourselves.
	ErrNotRoot = errors.New("not started as root, so local accounts can not be served")
	// ErrHome says that the home directory can not be entered.
	ErrHome = errors.New("home directory can not be entered")
	// ErrProgram says that the program can not be run.
	ErrProgram = errors.New("program can not be run")
	// ErrChanged says that Exec or DropRoot failed after it had begun to make this process somebody else: it has to end.
	ErrChanged = errors.New("this process is no longer what it was")
)

// Exec becomes the account's user and then the program, with conn as its standard input and output, standard error as
// it is, and no other descriptor. It returns only when that failed. After ErrChanged the process may be another user
// already, and conn may be blocking, so that its deadlines mean nothing: it has to end.
func Exec(conn Conn, l *Local) error {
	id, err := l.prepare()
	if err != nil {
		return err
	}
	return &changedError{execAs(conn, l, id)}
}

// changedError is ErrChanged with its cause and the cause's text.
type changedError struct{ error }

func (e *changedError) Unwrap() []error { return []error{ErrChanged, e.error} }

// execAs is the part of Exec from which there is no way back.
func execAs(conn Conn, l *Local, id *principal) error {
	// Rights and signal mask are those of the thread that execs. (So is the timer slack, which every thread has from the launcher.)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := id.become(); err != nil {
		return err
	}
	if err := os.Chdir(l.Home); err != nil {
		return fmt.Errorf("%w: %w", ErrHome, err)
	}
	if err := standardStreams(conn, l.NonBlocking); err != nil {
		return err
	}
	if err := closeOnExec(); err != nil {
		return err
	}
	if _, err := defaultSignals(); err != nil {
		return err
	}
	var none unix.Sigset_t
	if err := unix.PthreadSigmask(unix.SIG_SETMASK, &none, nil); err != nil {
		return os.NewSyscallError("rt_sigprocmask", err)
	}
	argv := l.command()
	// syscall.Exec also restores the soft NOFILE limit, which the Go runtime has raised.
	err := syscall.Exec(argv[0], argv[1:], l.Environ)
	return fmt.Errorf("%w: %w", ErrProgram, err)
}

// Start is Exec in a child process, with stdio as its standard input and output: for a process that has to stay, because
// it does the session's TLS. stdio is the caller's to close. The child's working directory and rights are as with Exec: a child whose
// change of user fails does not exec, which is the error here; and StartProcess returns only after the exec, so that what /proc
// says of the child then is what the program runs as. A child that is somebody else is killed. (A set-user-ID program is one.)
func Start(stdio, stderr syscall.Conn, l *Local) (*os.Process, error) {
	id, err := l.prepare()
	if err != nil {
		return nil, err
	}
	if err := closeOnExec(); err != nil {
		return nil, err
	}
	restore, err := defaultSignals()
	if err != nil {
		return nil, err
	}
	defer restore()
	argv := l.command()
	attr := &syscall.ProcAttr{Dir: l.Home, Env: l.Environ}
	if id.change {
		attr.Sys = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: id.uid, Gid: id.gid, Groups: id.groups}}
	}
	pid := 0
	// Not os.StartProcess, which makes the descriptors it is given blocking.
	err = control(stdio, func(in int) error {
		if err := unix.SetNonblock(in, l.NonBlocking); err != nil {
			return err
		}
		return control(stderr, func(log int) (err error) {
			attr.Files = []uintptr{uintptr(in), uintptr(in), uintptr(log)}
			pid, _, err = syscall.StartProcess(argv[0], argv[1:], attr)
			return err
		})
	})
	switch {
	case err == nil:
		return verified(pid, id)
	case unix.Access(l.Path, unix.X_OK) == nil:
		// The child says only that it failed. The program is there, so it was the folder.
		return nil, fmt.Errorf("%w: %s: %w", ErrHome, l.Home, err)
	}
	return nil, fmt.Errorf("%w: %w", ErrProgram, err)
}

// verified returns a child that has become the user, and kills any other.
func verified(pid int, id *principal) (*os.Process, error) {
	process, err := os.FindProcess(pid)
	if err != nil || !id.change {
		return process, err
	}
	if err = identity.VerifyProcess(pid, id.uid, id.gid, id.groups); err != nil {
		_ = process.Kill()
		_, _ = process.Wait()
		return nil, err
	}
	return process, nil
}

// prepare checks all that can be checked before the process changes, makes the home if asked, and sets the file mode
// creation mask.
func (l *Local) prepare() (*principal, error) {
	id, err := l.identity()
	if err != nil {
		return nil, err
	}
	if err := unix.Access(l.Path, unix.X_OK); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrProgram, err)
	}
	if l.Home == "" {
		return nil, fmt.Errorf("%w: the account has none", ErrHome)
	}
	if l.Skeleton != "" {
		if err := makeHome(l.Home, l.Skeleton, int(id.uid), int(id.gid)); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrHome, err)
		}
	}
	if l.Umask >= 0 {
		unix.Umask(l.Umask)
	}
	return id, nil
}

// command returns the path to exec and behind it argv. A limit on the address space is set by the shell: a Go process
// could set it only for itself, far below what it uses already, and then not be sure of the memory for its last steps.
func (l *Local) command() []string {
	if l.AddressSpace == 0 {
		return append([]string{l.Path, l.Path}, l.Args...)
	}
	const shell = "/bin/sh"
	return append([]string{shell, shell, "-c", `ulimit -v "$0" && exec "$@"`, strconv.Itoa(l.AddressSpace), l.Path}, l.Args...)
}

// standardStreams makes conn standard input and output, in the mode asked for.
func standardStreams(conn Conn, nonBlocking bool) error {
	in, out, err := descriptors(conn)
	if err != nil {
		return err
	}
	for target, from := range []syscall.Conn{in, out} {
		err := control(from, func(fd int) error { return unix.Dup3(fd, target, 0) })
		if err != nil {
			return os.NewSyscallError("dup3", err)
		}
		if err := unix.SetNonblock(target, nonBlocking); err != nil {
			return os.NewSyscallError("fcntl", err)
		}
	}
	return nil
}

// descriptors returns what conn reads from and writes to.
func descriptors(conn Conn) (in, out syscall.Conn, err error) {
	switch c := conn.(type) {
	case *pipes:
		return c.in, c.out, nil
	case syscall.Conn:
		return c, c, nil
	}
	return nil, nil, fmt.Errorf("a %T can not be handed to another program", conn)
}

// closeOnExec marks every descriptor but the standard ones, also those that a launcher forgot to close.
func closeOnExec() error {
	err := unix.CloseRange(firstListenFD, ^uint(0), unix.CLOSE_RANGE_CLOEXEC)
	if err == nil {
		return nil
	}
	// Kernels before 5.11 do not have it.
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return err
	}
	for _, entry := range entries {
		fd := 0
		if _, err := fmt.Sscan(entry.Name(), &fd); err == nil && fd >= firstListenFD {
			unix.CloseOnExec(fd)
		}
	}
	return nil
}

// sigaction is rt_sigaction(2)'s struct sigaction with room to spare. Its first word is the handler; what follows differs
// between architectures, and is all zero or just as the kernel gave it.
type sigaction [8]uintptr

// The handlers that are no functions, and the signals there are: 32 and 33, the C library's own, are among them.
const (
	sigDefault = 0
	sigIgnore  = 1
	lastSignal = 64
)

// setSignal sets a signal's action unless that is nil, and returns what it was. It goes past the runtime, which refuses some
// signals and keeps watch over the others.
func setSignal(signal uintptr, action *sigaction) (old sigaction, err error) {
	const setSize = lastSignal / 8
	_, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION, signal, uintptr(unsafe.Pointer(action)), uintptr(unsafe.Pointer(&old)), setSize, 0, 0)
	if errno != 0 {
		return old, os.NewSyscallError("rt_sigaction", errno)
	}
	return old, nil
}

// defaultSignals has the program to come start with every signal at its default: exec resets a signal that is caught, but
// keeps one that is ignored ignored: as nohup leaves SIGHUP, and make 32. restore gives this process back what it ignored.
func defaultSignals() (restore func(), err error) {
	var ignored []uintptr
	for signal := uintptr(1); signal <= lastSignal; signal++ {
		old, err := setSignal(signal, nil)
		if err != nil {
			return nil, err
		}
		if old[0] == sigIgnore {
			ignored = append(ignored, signal)
		}
	}
	set := func(handler uintptr) (err error) {
		for _, signal := range ignored {
			if _, failed := setSignal(signal, &sigaction{handler}); failed != nil {
				err = failed
			}
		}
		return err
	}
	return func() { _ = set(sigIgnore) }, set(sigDefault)
}
