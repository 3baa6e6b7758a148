// Package fronttest runs a front end's dialogue in the test's process, with everything around it made up:
// the auth module, the local server, the mailhosts, the network. It is for the tests of the front ends
// only.
package fronttest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"mailproxy/internal/config"
	"mailproxy/internal/facts"
	"mailproxy/internal/frontend"
	"mailproxy/internal/launch"
	"mailproxy/internal/local"
	"mailproxy/internal/login"
	"mailproxy/internal/maillog"
	"mailproxy/tests/testlog"
)

// Front is what differs from one front end to the other.
type Front struct {
	Program func() *frontend.Program
	// Args are the local server and the maildir.
	Args []string
	// Greeting is what the local server says first, a whole line.
	Greeting func(l *local.Server) string
	// Farewell is what the local server says when the client is done, a whole line.
	Farewell string
	// Mailhost plays the account's server where Options name no other. The connection is closed after it.
	Mailhost func(conn *net.UnixConn)
}

// Options change a session.
type Options struct {
	// Settings come on top of those that turn the proxy and TLS_EXTERNAL on.
	Settings map[string]string
	// Mailhost plays the account's server; nil = the front's.
	Mailhost func(conn *net.UnixConn)
	// Sleep is waited in place of the delay after a failed login.
	Sleep time.Duration
	// DropRoot is what giving up root rights ends with.
	DropRoot error
}

// Session is one client's session.
type Session struct {
	Conn   *net.UnixConn // the client's end; it works for a minute
	Stop   context.CancelFunc
	Log    *testlog.Log
	served chan int
}

// Begin starts a session; it ends with the test. Times that fail logins take are not waited for.
func (f *Front) Begin(t testing.TB, o Options) *Session {
	t.Helper()
	ours, theirs := Socketpair(t)
	ours.SetDeadline(time.Time{})
	p := f.Program().Protocol
	var environ []string
	for name, value := range o.Settings {
		environ = append(environ, name+"="+value)
	}
	environ = append(environ, p.Name+"_PROXY=1", "TLS_EXTERNAL=emailaddress") // the first of a name counts
	c, err := config.Load(nil, environ, config.Protocol(p.Name))
	if err != nil {
		t.Fatal(err)
	}
	log := &testlog.Log{}
	out := maillog.NewLog(log)
	carrier := frontend.NewProcessCarrier(out)
	server, err := frontend.New(frontend.Options{
		Protocol: p, Config: c, Log: out, Auth: auth{service: p.Service}, Args: f.Args,
		Engine: carrier.Start, Pumps: carrier.Pumps,
		DropRoot: func(string) error { return o.DropRoot }, Local: becoming{f},
		System: f.system(t, o),
	})
	if err != nil {
		t.Fatal(err)
	}
	peer := launch.Peer{
		RemoteIP: clientIP, RemotePort: "4711", LocalIP: "::ffff:192.0.2.1", LocalPort: p.Port,
		TLS: facts.Extract(c.Raw().Texts()),
	}
	ctx, cancel := context.WithCancel(context.Background())
	result := &Session{Conn: theirs, served: make(chan int, 1), Stop: cancel, Log: log}
	t.Cleanup(cancel)
	go func() {
		status := -1
		defer func() { result.served <- status }()
		status = server.ServeConn(ctx, ours, peer)
		status = max(status, carrier.Wait(ctx))
	}()
	return result
}

// Wait returns the exit status; -1 when the process would have become the local server. It can be called
// once.
func (s *Session) Wait(t testing.TB) int {
	t.Helper()
	select {
	case status := <-s.served:
		return status
	case <-time.After(time.Minute):
		t.Fatal("the session does not end")
		return 0
	}
}

func (f *Front) system(t testing.TB, o Options) *frontend.System {
	mailhost := o.Mailhost
	if mailhost == nil {
		mailhost = f.Mailhost
	}
	return &frontend.System{
		System: login.System{
			Now:      time.Now,
			Sleep:    func(context.Context, time.Duration) { time.Sleep(o.Sleep) },
			Hostname: func() (string, error) { return "proxy.example", nil },
		},
		Dial: func(context.Context, netip.AddrPort) (net.Conn, error) {
			ours, theirs := Socketpair(t)
			ours.SetDeadline(time.Time{})
			go func() {
				defer theirs.Close()
				mailhost(theirs)
			}()
			return ours, nil
		},
	}
}

// becoming is a process that becomes the local server.
type becoming struct{ front *Front }

// Exec plays the local server. Like the real one it does not come back: the dialogue's goroutine ends here.
func (b becoming) Exec(conn launch.Conn, l *local.Server) error {
	fmt.Fprint(conn, b.front.Greeting(l))
	_, _ = io.Copy(conn, conn) // until the client is done
	_, _ = io.WriteString(conn, b.front.Farewell)
	_ = conn.CloseWrite()
	runtime.Goexit()
	return nil
}

// Start is not for these tests: none has TLS of its own.
func (becoming) Start(syscall.Conn, *local.Server) (*os.Process, error) {
	return nil, errors.New("no child in this test")
}

// Describe tells how a local server was started: its path, arguments and home.
func Describe(l *local.Server) string {
	return fmt.Sprintf("local server %s %s, home %s", l.Path, strings.Join(l.Args, " "), l.Home)
}
