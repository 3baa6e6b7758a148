// Package session tests whole sessions: real clients, our front ends in every mode, real mailhosts.
package session

import (
	"os"
	"testing"

	"mailproxy/tests/clients"
	"mailproxy/tests/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

const addr = "127.0.1.1"

// each runs a test in each mode with the mailboxes and a proxy.
func each(t *testing.T, test func(t *testing.T, p *harness.Proxy)) {
	harness.EachMode(t, func(t *testing.T, m *harness.Mode) {
		harness.Site{Mailboxes: harness.Mailboxes}.Start(t)
		test(t, m.Start(t, harness.ProxyOptions{Addr: addr}))
	})
}

// at is the mailbox as a client finds it.
func at(box harness.Mailbox, p *harness.Proxy) clients.Server {
	return clients.Server{IMAP: p.At("IMAP"), POP3: p.At("POP3"), User: box.Name, Password: box.Password}
}
