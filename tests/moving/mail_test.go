package moving

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"mailproxy/tests/harness"
)

const (
	// mailEvery is how often a message for an account comes in.
	mailEvery = 400 * time.Millisecond
	// mailSettled is how long a delivery may still go to where the table said at its beginning.
	mailSettled = 500 * time.Millisecond
)

// mail is a mail server that delivers to one account all the time, where its table says as Postfix's does.
type mail struct {
	user    string
	hosts   map[string]*harness.DovecotServer // by address
	ctx     context.Context                   // no delivery goes on after it
	stop    chan struct{}
	running sync.WaitGroup

	mu        sync.Mutex
	table     string         // the line of the account
	underWay  map[string]int // deliveries, by address
	delivered []string       // the messages' subjects
	problems  []string
}

func startMail(ctx context.Context, user, table string, hosts ...*harness.DovecotServer) *mail {
	m := &mail{user: user, table: table, hosts: map[string]*harness.DovecotServer{}, ctx: ctx,
		stop: make(chan struct{}), underWay: map[string]int{}}
	for _, h := range hosts {
		m.hosts[h.Addr] = h
	}
	m.running.Add(1)
	go func() {
		defer m.running.Done()
		every := time.NewTicker(mailEvery)
		defer every.Stop()
		for n := 1; ; n++ {
			m.running.Add(1)
			go func() {
				defer m.running.Done()
				m.queue(fmt.Sprintf("%s %d", user, n), n%4 == 0)
			}()
			select {
			case <-ctx.Done():
				return
			case <-m.stop:
				return
			case <-every.C:
			}
		}
	}()
	return m
}

// queue keeps a message until it is delivered. One that is slow is delivered long after the table was read.
func (m *mail) queue(subject string, slow bool) {
	for ; m.ctx.Err() == nil; time.Sleep(mailEvery) {
		addr := m.take()
		if addr == "" {
			continue
		}
		if slow {
			time.Sleep(mailSettled)
		}
		err := deliver(m.hosts[addr], m.user, subject)
		m.mu.Lock()
		m.underWay[addr]--
		if err == nil {
			m.delivered = append(m.delivered, subject)
		}
		m.mu.Unlock()
		if err == nil {
			return
		}
		m.problem("%s at %s: %v", subject, addr, err)
	}
	m.problem("%s has not been delivered", subject)
}

func (m *mail) problem(format string, args ...any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.problems = append(m.problems, fmt.Sprintf(format, args...))
}

// take reads the table: the address to deliver to, or nothing for now.
func (m *mail) take() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var user, nexthop string
	fmt.Sscan(m.table, &user, &nexthop)
	addr, isHost := strings.CutPrefix(nexthop, "lmtp:inet:")
	addr, isPort := strings.CutSuffix(addr, ":24")
	switch {
	case user == m.user && strings.HasPrefix(nexthop, "retry:4."):
		return ""
	case user != m.user || !isHost || !isPort || m.hosts[addr] == nil:
		m.problems = append(m.problems, fmt.Sprintf("the table says %q", m.table))
		return ""
	}
	m.underWay[addr]++
	return addr
}

// route changes the table.
func (m *mail) route(table string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.table = table
}

// settled waits until no delivery to the address is under way.
func (m *mail) settled(t *testing.T, addr string) {
	t.Helper()
	if !harness.Eventually(func() bool {
		m.mu.Lock()
		defer m.mu.Unlock()
		return m.underWay[addr] == 0
	}) {
		t.Fatalf("deliveries to %s do not end", addr)
	}
}

// end delivers what is queued, and returns the subjects of all messages.
func (m *mail) end(t *testing.T) []string {
	t.Helper()
	close(m.stop)
	m.running.Wait()
	for _, p := range m.problems {
		t.Log(p)
	}
	return m.delivered
}

// deliver puts a message into an account's INBOX as the server's own delivery agent does.
func deliver(server *harness.DovecotServer, user, subject string) error {
	cmd := exec.Command("/usr/lib/dovecot/dovecot-lda", "-c", filepath.Join(server.Dir, "dovecot.conf"), "-d",
		user)
	cmd.Stdin = strings.NewReader(harness.Message(subject))
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}
