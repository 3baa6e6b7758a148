package resident_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"mailproxy/authlib"
)

// world is an auth module and a mailhost for front ends in processes of their own.
type world struct {
	t   testing.TB
	dir string
	// held names users whose logins wait at the auth module until the channel is closed; asked gets each of
	// their names when that has begun.
	mu    sync.Mutex
	held  map[string]chan struct{}
	asked chan string
	ports map[string]string // of the mailhost by protocol
}

// publicDir is a directory that the user of a front end may enter.
func publicDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "resident")
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, dir: publicDir(t), held: map[string]chan struct{}{}, asked: make(chan string, 100),
		ports: map[string]string{}}
	path := filepath.Join(w.dir, "auth")
	auth, err := net.Listen("unix", path)
	if err == nil {
		err = os.Chmod(path, 0o666)
	}
	if err != nil {
		t.Fatal(err)
	}
	serveAll(t, auth, w.answer)
	for protocol, serve := range map[string]func(net.Conn){"imap": imapMailhost, "pop3": pop3Mailhost} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		serveAll(t, l, serve)
		w.ports[protocol] = l.Addr().String()
	}
	return w
}

func serveAll(t testing.TB, l net.Listener, serve func(net.Conn)) {
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				serve(c)
			}()
		}
	}()
}

// hold has the logins of a user wait until it is let go.
func (w *world) hold(user string) (letGo func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	wait := make(chan struct{})
	w.held[user] = wait
	return sync.OnceFunc(func() { close(wait) })
}

// answer is the auth module: everybody's password is right.
func (w *world) answer(c net.Conn) {
	request, err := authlib.ReadRequest(c)
	if err != nil {
		return
	}
	auth, ok := request.(*authlib.AuthRequest)
	if !ok {
		return
	}
	w.mu.Lock()
	wait := w.held[auth.User]
	w.mu.Unlock()
	if wait != nil {
		w.asked <- auth.User
		<-wait
	}
	fmt.Fprintf(c, "ADDRESS=%s\nUID=1000\nGID=1000\nHOME=/nonexistent\nPASSWD2=secret\nOPTIONS=mailhost=%s\n.\n",
		auth.User, w.ports[auth.Service])
}

// imapMailhost takes every login and says back whatever comes then.
func imapMailhost(c net.Conn) {
	fmt.Fprintf(c, "* OK mailhost\r\n")
	r := bufio.NewReader(c)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		tag, command, _ := strings.Cut(line, " ")
		if strings.HasPrefix(command, "CAPABILITY") {
			fmt.Fprintf(c, "* CAPABILITY IMAP4rev1\r\n")
		}
		fmt.Fprintf(c, "%s OK done\r\n", tag)
		if strings.HasPrefix(command, "LOGIN") {
			break
		}
	}
	_, _ = io.Copy(c, r)
}

func pop3Mailhost(c net.Conn) {
	fmt.Fprintf(c, "+OK mailhost\r\n")
	r := bufio.NewReader(c)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		fmt.Fprintf(c, "+OK\r\n")
		if strings.HasPrefix(line, "CAPA") {
			fmt.Fprintf(c, "USER\r\n.\r\n")
		}
		if strings.HasPrefix(line, "PASS") {
			break
		}
	}
	_, _ = io.Copy(c, r)
}
