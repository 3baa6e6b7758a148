// Package ops tests what an administrator does with the programs besides running them: installing and
// removing the package, standing several proxies behind HAProxy, reading the log with fail2ban.
package ops

import (
	"fmt"
	"net"
	"os"
	"testing"

	"mailproxy/tests/harness"
	"mailproxy/tests/transcript"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

const (
	mailhost = "127.0.0.3"
	client   = "127.0.0.77"
	balancer = "127.0.0.10"
)

// dial connects from the client's own address.
func dial(addr string) (net.Conn, error) {
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(client)}, Timeout: harness.Patience}
	return dialer.Dial("tcp", addr)
}

// play plays a dialogue as a client from that address.
func play(t *testing.T, addr, text string) *transcript.Runner {
	t.Helper()
	return transcript.Play(t, harness.ConnectFrom(t, client, addr), text)
}

// accounts are at the mailhost; their name is their password.
func accounts(n int) (there, elsewhere []harness.Account) {
	for i := range n {
		name := fmt.Sprintf("user%d", i)
		a := harness.Account{Name: name, Password: name}
		there = append(there, a)
		a.Options = "mailhost=" + mailhost
		elsewhere = append(elsewhere, a)
	}
	return there, elsewhere
}
