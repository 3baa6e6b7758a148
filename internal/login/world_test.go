package login

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"mailproxy/internal/config"
	"mailproxy/internal/launch"
	"mailproxy/internal/mailhost"
	"mailproxy/internal/maillog"
	"mailproxy/tests/logintest"
	"mailproxy/tests/testlog"
)

// The protocols, with mailhosts that are made up.
var (
	imap = Protocol{
		Name: "IMAP", Service: "imap", Port: "143", TLSPort: "993", TLSWord: "starttls", Codes: IMAP(),
	}
	pop3 = Protocol{
		Name: "POP3", Service: "pop3", Port: "110", TLSPort: "995", TLSWord: "stls", Codes: POP3(),
	}
)

// from is the client in log lines.
const from = "ip=[::ffff:192.0.2.7], port=[5000]"

// world is a session with everything around it made up.
type world struct {
	*Session
	*logintest.Mailhosts
	auth  *logintest.Auth
	log   *testlog.Log
	slept []time.Duration
}

func newWorld(t *testing.T, protocol Protocol, settings ...string) *world {
	t.Helper()
	c, err := config.Load(nil, settings, config.Protocol(protocol.Name))
	if err != nil {
		t.Fatal(err)
	}
	w := &world{Mailhosts: logintest.NewMailhosts(t), auth: logintest.NewAuth(), log: &testlog.Log{}}
	protocol.Login = w.LogIn
	system := RealSystem()
	// What is slept counts from when the credentials came: the time stands still.
	now := time.Now()
	system.Now = func() time.Time { return now }
	system.Sleep = func(_ context.Context, d time.Duration) { w.slept = append(w.slept, d.Round(time.Second)) }
	system.Hostname = func() (string, error) { return "Proxy.example.com", nil }
	service := &Service{
		Protocol: &protocol, Config: c, Auth: w.auth, System: &system,
		Mailhosts: &mailhost.Dialer{
			Config: c, Port: protocol.Port, TLSPort: protocol.TLSPort, Lookup: w.Resolve, Dial: w.Dial,
		},
	}
	peer := launch.Peer{
		RemoteIP: "::ffff:192.0.2.7", RemotePort: "5000", LocalIP: "::ffff:192.0.2.1", LocalPort: protocol.Port,
	}
	w.Session = service.NewSession(peer, nil, maillog.NewLog(w.log))
	return w
}

// wantLog compares the log so far, line by line.
func (w *world) wantLog(t *testing.T, lines ...string) {
	t.Helper()
	want := ""
	for _, line := range lines {
		want += line + "\n"
	}
	if got := w.log.String(); got != want {
		indent := strings.NewReplacer("\n", "\n     ")
		t.Errorf("log:\ngot  %swant %s", indent.Replace(got), indent.Replace(want))
	}
}

func password(user, password string) *Credentials {
	return Password(user, password)
}

func writeFile(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
