// Package counters has the counters of the processes that carry sessions, relayd and resident front ends:
// logins and sessions, under the same names in all of them, for Prometheus and for administrators. A login is
// counted in one process only, so that sums over all of them are right.
package counters

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"mailproxy/internal/metrics"
	"mailproxy/relay"
)

// Label values. What a front end of another version says beyond them counts as the last step.
var (
	protocols = [...]string{"imap", "pop3"}
	results   = [...]relay.Result{relay.LoginOK, relay.LoginLocal, relay.LoginRefused, relay.LoginDisabled,
		relay.LoginTemporary, relay.LoginLimit}
	steps = [...]relay.Step{relay.StepResolve, relay.StepConnect, relay.StepTLS, relay.StepGreeting,
		relay.StepForward, relay.StepUTF8, relay.StepUser, relay.StepPassword, relay.StepLogin, relay.StepFollow,
		relay.StepRejected, "other"}
	mechanisms = [...]string{"LOGIN", "PLAIN", "CRAM-MD5", "CRAM-SHA1", "CRAM-SHA256", "SCRAM-SHA-1",
		"SCRAM-SHA-1-PLUS", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS", "EXTERNAL", "OAUTHBEARER", "XOAUTH2", "other"}
	tlsVersions = [...]string{"none", "1.0", "1.1", "1.2", "1.3", "other"}
	// bounds are the upper limits of the histogram's buckets, in seconds.
	bounds = [...]float64{0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30}
)

const (
	// maxMailhosts bounds the names that are counted one by one; the others are one name together.
	maxMailhosts   = 500
	otherMailhosts = "other"
	maxLogin       = time.Hour
)

// Logins counts logins, by the names of the first mailhosts. At its largest it is a few hundred kilobytes.
// Its methods may be called by many goroutines.
type Logins struct {
	set *metrics.Set

	mu    sync.Mutex
	hosts map[string]struct{} // that have their own counters
}

// NewLogins returns a Logins that has counted nothing.
func NewLogins() *Logins {
	return &Logins{set: metrics.NewSet(), hosts: map[string]struct{}{"": {}}} // "": none was asked
}

// Add counts a login. The error is for a report that makes no sense; nothing of it is counted then.
func (c *Logins) Add(r *relay.Report) error {
	l, err := parse(r)
	if err != nil {
		return err
	}
	protocol, result := l.protocol, string(r.Result)
	c.set.Add("mailproxy_logins_total",
		metrics.Labels("protocol", protocol, "result", result, "mailhost", c.label(l.mailhost)), 1)
	c.set.Add("mailproxy_logins_by_mechanism_total",
		metrics.Labels("protocol", protocol, "mechanism", known(mechanisms[:], r.Mechanism),
			"tls", known(tlsVersions[:], r.TLS), "result", result), 1)
	for _, f := range l.failures {
		c.set.Add("mailproxy_mailhost_failures_total",
			metrics.Labels("mailhost", c.label(f.Mailhost), "step", string(f.Step)), 1)
	}
	c.set.Observe("mailproxy_login_seconds",
		metrics.Labels("protocol", protocol, "result", result), bounds[:], r.Took.Seconds())
	return nil
}

// WriteSessions writes how many sessions there are at each mailhost; 0 for those that have been counted
// before.
func (c *Logins) WriteSessions(w io.Writer, sessions map[string]int) {
	values := map[string]int64{}
	for host, n := range sessions {
		name, err := mailhostLabel(host)
		if err == nil {
			name = c.label(name)
		} else {
			name = otherMailhosts
		}
		values[metrics.Labels("mailhost", name)] += int64(n)
	}
	c.mu.Lock()
	for name := range c.hosts {
		if name != "" {
			values[metrics.Labels("mailhost", name)] += 0
		}
	}
	c.mu.Unlock()
	metrics.WriteLabelled(w, metrics.Gauge, "mailproxy_mailhost_sessions", values)
}

// Write writes the counters in Prometheus' text format.
func (c *Logins) Write(w io.Writer) { c.set.Write(w) }

// login is a report whose texts are fit for labels.
type login struct {
	protocol, mailhost string // mailhost: empty = none was asked
	failures           []relay.Failure
}

func parse(r *relay.Report) (login, error) {
	l := login{protocol: strings.ToLower(r.Protocol)}
	if !slices.Contains(protocols[:], l.protocol) || !slices.Contains(results[:], r.Result) {
		return l, errors.New("unknown PROTOCOL or RESULT")
	}
	if r.Took < 0 || r.Took > maxLogin {
		return l, errors.New("LOGIN_US is not a number of microseconds")
	}
	var err error
	if r.Mailhost != "" {
		if l.mailhost, err = mailhostLabel(r.Mailhost); err != nil {
			return l, err
		}
	}
	for _, f := range r.Failures[:min(len(r.Failures), relay.MaxFailures)] {
		if f.Mailhost, err = mailhostLabel(f.Mailhost); err != nil {
			return l, err
		}
		f.Step = known(steps[:], f.Step)
		l.failures = append(l.failures, f)
	}
	return l, nil
}

// known is a value that is among those of a label, else the last of them.
func known[T ~string](values []T, value T) T {
	if slices.Contains(values, value) {
		return value
	}
	return values[len(values)-1]
}

// mailhostLabel is a host name or an address as the label of a metric: one spelling, and no byte that could
// be anything else there.
func mailhostLabel(name string) (string, error) {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	if name == "" || len(name) > 300 {
		return "", errors.New("MAILHOST is not a name of 1 to 300 bytes")
	}
	for _, c := range []byte(name) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && strings.IndexByte(".-_:%", c) < 0 {
			return "", fmt.Errorf("MAILHOST cannot hold %q", c)
		}
	}
	return name, nil
}

// label is a mailhost's name. The first ones that come have their own counters.
func (c *Logins) label(name string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, known := c.hosts[name]; known {
		return name
	}
	if len(c.hosts) > maxMailhosts {
		return otherMailhosts
	}
	c.hosts[name] = struct{}{}
	return name
}
