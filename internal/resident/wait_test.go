package resident_test

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"mailproxy/tests/testlog"
)

// inetd is one that waits: it has a listening socket, and a program for whatever comes.
type inetd struct {
	p      *process // the program as it is now; log and path are the same for all
	w      *world
	socket *os.File
	args   []string
}

func newInetd(w *world, args ...string) *inetd {
	w.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	socket, err := l.(*net.TCPListener).File()
	l.Close()
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { socket.Close() })
	p := &process{t: w.t, protocol: "imap", path: filepath.Join(w.dir, "imapd-proxy"), log: &testlog.Log{},
		plain: l.Addr().String()}
	p.install()
	w.t.Cleanup(func() {
		if strings.Contains(p.log.String(), "DATA RACE") || w.t.Failed() {
			w.t.Errorf("log:\n%s", p.log)
		}
	})
	return &inetd{p, w, socket, args}
}

// serve starts the program when there is a connection, and returns when it has ended.
func (i *inetd) serve() error {
	for {
		_, err := unix.Poll([]unix.PollFd{{Fd: int32(i.socket.Fd()), Events: unix.POLLIN}}, -1)
		if err == nil {
			break
		}
		if err != unix.EINTR {
			return err
		}
	}
	return i.start().Wait()
}

func (i *inetd) start() *exec.Cmd {
	cmd := exec.Command(i.p.path, i.args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = i.socket, i.socket, i.p.log
	cmd.Env = []string{"AUTHDAEMON_SOCKET=" + filepath.Join(i.w.dir, "auth"), "IMAP_PROXY=1", "RELAY_SOCKET=",
		"GORACE=" + os.Getenv("GORACE")}
	if err := cmd.Start(); err != nil {
		i.w.t.Error(err)
	}
	return cmd
}

// TestIdle: the program ends when it was idle for long enough, not before, and with no session lost; its
// successor has what comes then. SIGHUP has no effect but a line.
func TestIdle(t *testing.T) {
	i := newInetd(newWorld(t), "-idle", "300ms")
	for range 2 {
		// It is never idle until the session begins.
		before, err := net.Dial("tcp", i.p.plain)
		if err != nil {
			t.Fatal(err)
		}
		cmd := i.start()
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		c := i.p.mustLogin("ann", false)
		before.Close()
		if err := cmd.Process.Signal(unix.SIGHUP); err != nil {
			t.Fatal(err)
		}
		i.p.until("a line", func() bool { return strings.Contains(i.p.log.String(), "WARN: SIGHUP has no effect") })
		select {
		case err := <-ended:
			t.Fatalf("ended with a session: %v", err)
		case <-time.After(time.Second): // longer than it would be idle
		}
		c.mustEcho()
		c.Close()
		select {
		case err := <-ended:
			if err != nil {
				t.Fatal(err)
			}
		case <-time.After(testlog.Patience):
			t.Fatal("it does not end")
		}
	}
}

// TestIdleRace: clients come in the very moment in which the program ends for want of one. None is lost.
func TestIdleRace(t *testing.T) {
	const idle = 20 * time.Millisecond
	i := newInetd(newWorld(t), "-idle", idle.String())
	ends := make(chan error)
	done := make(chan struct{})
	var starts atomic.Int64
	go func() {
		defer close(ends)
		for {
			err := i.serve()
			select {
			case <-done:
				return
			default:
			}
			starts.Add(1)
			if err != nil {
				ends <- err
				return
			}
		}
	}()
	end, wait := time.Now().Add(testlog.Patience), idle
	for n := 0; n < 60 || starts.Load() < 6 && time.Now().Before(end); n++ {
		before := starts.Load()
		c, err := i.p.connect(false)
		if err == nil {
			_, err = io.WriteString(c, "a LOGOUT\r\n")
			for line := ""; err == nil && !strings.HasPrefix(line, "a OK"); {
				line, err = c.r.ReadString('\n')
			}
			c.Close()
		}
		if err != nil {
			t.Fatalf("client %d: %v", n, err)
		}
		// This is no waiting for a condition: it is the moment that the test is about. A client that came too
		// late, to a process that had ended, makes the next one come earlier, and the other way round.
		if wait += 500 * time.Microsecond; starts.Load() > before {
			wait -= time.Millisecond
		}
		select {
		case err := <-ends:
			t.Fatal(err)
		case <-time.After(wait):
		}
	}
	close(done)
	c, err := net.Dial("tcp", i.p.plain) // one more start, for the loop to end
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	<-ends
	t.Logf("%d starts", starts.Load())
	if starts.Load() < 6 {
		t.Error("the moment was hardly ever met")
	}
}

// TestDescriptorsUsedUp: logins that wait have taken all file descriptors. That is a line and no more;
// sessions go on, the program can be reloaded, and the new process serves who has waited.
func TestDescriptorsUsedUp(t *testing.T) {
	const limit = 64
	w := newWorld(t)
	p := w.start("imap", fmt.Sprintf("%s=%d", noFileVariable, limit))
	plain, over := p.mustLogin("ann", false), p.mustLogin("bob", true)
	defer w.hold("slow")()
	var waiting []*client
	for range limit / 3 {
		c, err := p.connect(false)
		if err != nil {
			t.Fatal(err)
		}
		waiting = append(waiting, c)
	}
	for _, c := range waiting { // each takes a second file descriptor, as long as there are some
		if err := c.say("slow"); err != nil {
			t.Fatal(err)
		}
	}
	// No more than it takes, as the new process has those that wait, and no more file descriptors.
	usedUp := func() bool { return strings.Contains(p.log.String(), "too many open files; connections wait") }
	for !usedUp() {
		greeted := make(chan struct{})
		go func() {
			defer close(greeted)
			if c, err := p.connect(false); err == nil {
				t.Cleanup(func() { c.Close() })
			}
		}()
		p.until("no descriptor is left", func() bool {
			select {
			case <-greeted:
				return true
			default:
				return usedUp()
			}
		})
	}
	plain.mustEcho()
	over.mustEcho()
	p.reload()
	plain.mustEcho()
	over.mustEcho()
	p.mustLogin("eve", false).mustEcho()
	p.mustLogin("dan", true).mustEcho()
	if n := strings.Count(p.log.String(), "too many open files; connections wait"); n != 1 {
		t.Errorf("%d lines about descriptors", n)
	}
}
