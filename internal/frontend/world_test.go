package frontend

import (
	"context"
	"net"
	"os"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"mailproxy/internal/config"
	"mailproxy/internal/facts"
	"mailproxy/internal/launch"
	"mailproxy/internal/line"
	"mailproxy/internal/local"
	"mailproxy/internal/login"
	"mailproxy/internal/maillog"
	"mailproxy/tests/logintest"
	"mailproxy/tests/testlog"
)

// The protocols, with dialogues that are made up.
var (
	imap = Protocol{
		Protocol: login.Protocol{
			Name: "IMAP", Service: "imap", Port: "143", TLSPort: "993", TLSWord: "starttls", Codes: login.IMAP(),
		},
		NonBlocking: true,
	}
	pop3 = Protocol{
		Protocol: login.Protocol{
			Name: "POP3", Service: "pop3", Port: "110", TLSPort: "995", TLSWord: "stls", Codes: login.POP3(),
		},
	}
)

// from is the client in log lines.
const from = "ip=[::ffff:192.0.2.7], port=[5000]"

// world is a connection with everything around it made up.
type world struct {
	*Conn
	*logintest.Mailhosts
	auth    *logintest.Auth
	client  *net.TCPConn
	log     *testlog.Log
	slept   []time.Duration
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

func newWorld(t *testing.T, protocol Protocol, settings ...string) *world {
	t.Helper()
	c, err := config.Load(nil, settings, config.Protocol(protocol.Name))
	if err != nil {
		t.Fatal(err)
	}
	client, conn := tcpPair(t)
	w := &world{
		Mailhosts: logintest.NewMailhosts(t), auth: logintest.NewAuth(), client: client, log: &testlog.Log{},
	}
	protocol.Login = w.LogIn
	system := realSystem()
	// What is slept counts from when the credentials came, a moment ago.
	system.Sleep = func(_ context.Context, d time.Duration) {
		w.slept = append(w.slept, (d + time.Second - 1).Truncate(time.Second))
	}
	system.Hostname = func() (string, error) { return "Proxy.example.com", nil }
	system.resolve, system.Dial = w.Resolve, w.Dial
	peer := launch.Peer{
		RemoteIP: "::ffff:192.0.2.7", RemotePort: "5000", LocalIP: "::ffff:192.0.2.1", LocalPort: protocol.Port,
		TLS: facts.Extract(c.Raw().Texts()),
	}
	log := maillog.NewLog(w.log)
	w.carrier = NewProcessCarrier(log)
	server, err := New(Options{
		Protocol: &protocol, Config: c, Log: log, Auth: w.auth, Args: []string{"/usr/bin/imapd", "Maildir"},
		Relayd: NewRelayd(c), Engine: w.carrier.Start, Pumps: w.carrier.Pumps, Local: w, System: system,
		DropRoot: func(user string) error { w.dropped = append(w.dropped, user); return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	w.Conn = server.newConn(conn, peer)
	w.In = line.NewReader(conn)
	t.Cleanup(w.begin(t.Context()))
	return w
}

var seconds = regexp.MustCompile(`\btime=\d+`)

// wantLog compares the log so far, line by line.
func (w *world) wantLog(t *testing.T, lines ...string) {
	t.Helper()
	want := ""
	for _, line := range lines {
		want += line + "\n"
	}
	// A busy machine may take a second where nothing is waited for.
	if got := seconds.ReplaceAllString(w.log.String(), "time=0"); got != want {
		indent := strings.NewReplacer("\n", "\n     ")
		t.Errorf("log:\ngot  %swant %s", indent.Replace(got), indent.Replace(want))
	}
}

func password(user, password string) *login.Credentials {
	return login.Password(user, password)
}
