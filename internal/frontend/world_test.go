package frontend

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"mailproxy/authlib"
	"mailproxy/internal/config"
	"mailproxy/internal/facts"
	"mailproxy/internal/launch"
	"mailproxy/internal/local"
	"mailproxy/internal/mailhost"
	"mailproxy/internal/maillog"
	"mailproxy/tests/testlog"
)

// fakeAuth answers from a list of accounts with passwords, and records what it was asked.
type fakeAuth struct {
	accounts map[string]*authlib.Account // by name; ClearPassword is the password
	err      error                       // instead of any answer
	asked    []string
}

func (f *fakeAuth) Authenticate(_ context.Context, r *authlib.AuthRequest) (*authlib.Account, error) {
	f.asked = append(f.asked, fmt.Sprintf("%s %s %s %s %s %s", r.Type, r.Service, r.User, r.Password, r.Response, r.RemoteIP))
	user, ok := r.Login()
	account := f.accounts[user]
	switch {
	case f.err != nil:
		return nil, f.err
	case !ok || account == nil || r.Type == authlib.AuthLogin && account.ClearPassword != r.Password:
		return nil, authlib.ErrRefused
	}
	return account, nil
}

func (f *fakeAuth) Lookup(_ context.Context, r *authlib.LookupRequest) (*authlib.Account, error) {
	f.asked = append(f.asked, fmt.Sprintf("lookup %s %s %s", r.Service, r.User, r.RemoteIP))
	if f.accounts[r.User] == nil {
		return nil, authlib.ErrRefused
	}
	return f.accounts[r.User], f.err
}

// world is a session with everything around it made up.
type world struct {
	*Conn
	auth   *fakeAuth
	client net.Conn
	log    *testlog.Log
	slept  []time.Duration
	dialed []string
	// hosts maps names to addresses, servers "ip:port" to what a mailhost there does.
	hosts   map[string][]string
	servers map[string]func(ctx context.Context, m *mailhost.Conn) error
	dropped []string
	// execErr is what becoming the local server ends with.
	execErr error
	execed  *local.Server
	carrier *ProcessCarrier
}

// Exec is part of Local.
func (w *world) Exec(_ launch.Conn, l *local.Server) error { w.execed = l; return w.execErr }

// Start is part of Local.
func (w *world) Start(_ syscall.Conn, l *local.Server) (*os.Process, error) {
	w.execed = l
	return nil, w.execErr
}

var errRefusedByKernel = errors.New("nobody listens")

func newWorld(t *testing.T, protocol Protocol, settings ...string) *world {
	t.Helper()
	c, err := config.Load(nil, settings, config.Protocol(protocol.Name))
	if err != nil {
		t.Fatal(err)
	}
	client, conn := tcpPair(t)
	w := &world{
		auth: &fakeAuth{accounts: map[string]*authlib.Account{}}, client: client, log: &testlog.Log{},
		hosts: map[string][]string{}, servers: map[string]func(context.Context, *mailhost.Conn) error{},
	}
	if protocol.Login == nil {
		protocol.Login = func(ctx context.Context, m *mailhost.Conn) error { return w.servers[m.Addr](ctx, m) }
	}
	real := RealSystem()
	system := &System{
		Now: real.Now,
		// What is slept counts from when the credentials came, microseconds ago.
		Sleep:    func(_ context.Context, d time.Duration) { w.slept = append(w.slept, d.Round(time.Second)) },
		Hostname: func() (string, error) { return "Proxy.example.com", nil },
		Resolve: func(_ context.Context, host string) ([]netip.Addr, error) {
			var addrs []netip.Addr
			for _, a := range w.hosts[host] {
				addrs = append(addrs, netip.MustParseAddr(a))
			}
			if addrs == nil {
				return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
			}
			return addrs, nil
		},
		Dial: func(_ context.Context, addr netip.AddrPort) (net.Conn, error) {
			w.dialed = append(w.dialed, addr.String())
			if w.servers[addr.String()] == nil {
				return nil, errRefusedByKernel
			}
			_, conn := tcpPair(t)
			return conn, nil
		},
	}
	peer := launch.Peer{
		RemoteIP: "::ffff:192.0.2.7", RemotePort: "5000", LocalIP: "::ffff:192.0.2.1", LocalPort: protocol.Port,
		TLS: facts.Take(c.Texts()),
	}
	log := maillog.NewLog(w.log)
	w.carrier = NewProcessCarrier(log)
	server, err := New(Options{
		Protocol: &protocol, Config: c, Log: log, Auth: w.auth, Args: []string{"/usr/bin/imapd", "Maildir"},
		Relayd: NewRelayd(c), Engine: w.carrier.Start, Local: w, System: system,
		DropRoot: func(user string) error { w.dropped = append(w.dropped, user); return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	w.Conn = server.newConn(t.Context(), conn, peer)
	t.Cleanup(w.begin())
	return w
}

// account adds an account; its password is "secret".
func (w *world) account(name, options string) *authlib.Account {
	uid, gid := uint32(1000), uint32(1001)
	a := &authlib.Account{
		Address: name, ClearPassword: "secret", Options: authlib.Options(options), Home: "/home/" + name, UID: &uid, GID: &gid,
	}
	w.auth.accounts[name] = a
	return a
}

func says(err error) func(context.Context, *mailhost.Conn) error {
	return func(context.Context, *mailhost.Conn) error { return err }
}

// wantLog compares the log so far, line by line.
func (w *world) wantLog(t *testing.T, lines ...string) {
	t.Helper()
	want := ""
	for _, line := range lines {
		want += line + "\n"
	}
	if got := w.log.String(); got != want {
		t.Errorf("log:\ngot  %swant %s", strings.ReplaceAll(got, "\n", "\n     "), strings.ReplaceAll(want, "\n", "\n     "))
	}
}

func password(user, password string) *Credentials {
	return &Credentials{Mechanism: "LOGIN", Type: authlib.AuthLogin, User: user, Password: password}
}
