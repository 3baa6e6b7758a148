package main

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"mailproxy/relay"
	"mailproxy/relay/handoff"
)

// What front ends tell of logins: with every session, and in a REPORT message of those that became none.

// Label values. What a front end of another version says beyond them counts as the last step.
var (
	loginProtocols = [...]string{"imap", "pop3"}
	loginResults   = [...]relay.Result{relay.LoginOK, relay.LoginLocal, relay.LoginRefused, relay.LoginDisabled,
		relay.LoginTemporary, relay.LoginLimit}
	failureSteps = [...]string{"resolve", "connect", "tls", "greeting", "forward", "utf8", "user", "password",
		"login", "capability", "rejected", "other"}
	// loginBounds are the upper limits of the histogram's buckets, in seconds.
	loginBounds = [...]float64{0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30}
)

const (
	// maxMailhosts bounds the names that are counted one by one; the others are one name together.
	maxMailhosts   = 500
	otherMailhosts = "other"
	maxFailures    = 64 // of one login
	maxLogin       = time.Hour
)

// login is one report, read and checked: indexes into the lists above, names fit for a label.
type login struct {
	protocol, result int
	mailhost         string // empty = none was asked
	took             time.Duration
	failures         []failure
}

type failure struct {
	mailhost string
	step     int
}

// parseLogin reads the fields of a REPORT message, and those of a CARRY message, whose result the caller
// knows. Fields that a login has no use for are of no concern.
func parseLogin(fields map[string]string, result relay.Result) (*login, error) {
	l := &login{
		protocol: slices.Index(loginProtocols[:], strings.ToLower(fields["PROTOCOL"])),
		result:   slices.Index(loginResults[:], result),
	}
	if l.protocol < 0 || l.result < 0 {
		return nil, errors.New("unknown PROTOCOL or RESULT")
	}
	us, err := strconv.ParseInt(fields["LOGIN_US"], 10, 64)
	if err != nil || us < 0 || us > maxLogin.Microseconds() {
		return nil, errors.New("LOGIN_US is not a number of microseconds")
	}
	l.took = time.Duration(us) * time.Microsecond
	if name := fields["MAILHOST"]; name != "" {
		if l.mailhost, err = mailhostLabel(name); err != nil {
			return nil, err
		}
	}
	failed := fields["FAILED"]
	if failed == "" {
		return l, nil
	}
	if strings.Count(failed, ",") >= maxFailures {
		return nil, errors.New("too many failures")
	}
	for part := range strings.SplitSeq(failed, ",") {
		name, step, ok := strings.Cut(part, "/")
		if !ok {
			return nil, errors.New("FAILED is not a list of mailhost/step")
		}
		f := failure{step: slices.Index(failureSteps[:], step)}
		if f.mailhost, err = mailhostLabel(name); err != nil {
			return nil, err
		}
		if f.step < 0 {
			f.step = len(failureSteps) - 1
		}
		l.failures = append(l.failures, f)
	}
	return l, nil
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

// loginStats counts logins, by the names of the first mailhosts. At its largest it is a few hundred
// kilobytes.
type loginStats struct {
	set *metrics.Set

	mu    sync.Mutex
	hosts map[string]struct{} // that have their own counters
}

func newLoginStats() *loginStats {
	metrics.ExposeMetadata(true)
	return &loginStats{set: metrics.NewSet(), hosts: map[string]struct{}{"": {}}} // "": none was asked
}

func (c *loginStats) add(l *login) {
	protocol, result := loginProtocols[l.protocol], loginResults[l.result]
	c.set.GetOrCreateCounter(fmt.Sprintf("mailproxy_logins_total{protocol=%q,result=%q,mailhost=%q}",
		protocol, result, c.label(l.mailhost))).Inc()
	for _, f := range l.failures {
		c.set.GetOrCreateCounter(fmt.Sprintf("mailproxy_mailhost_failures_total{mailhost=%q,step=%q}",
			c.label(f.mailhost), failureSteps[f.step])).Inc()
	}
	c.set.GetOrCreatePrometheusHistogramExt(fmt.Sprintf("mailproxy_login_seconds{protocol=%q,result=%q}",
		protocol, result), loginBounds[:]).Update(l.took.Seconds())
}

// label is a mailhost's name. The first ones that come have their own counters.
func (c *loginStats) label(name string) string {
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

// report counts a login that became no session. The front end does not wait for an answer; there is one
// only for nonsense.
func (s *service) report(c *net.UnixConn, m *handoff.Message) {
	s.counters.reported.Add(1)
	l, err := parseLogin(m.Fields, relay.Result(m.Fields["RESULT"]))
	if err != nil {
		s.counters.malformed.Add(1)
		_ = handoff.Answer(c, "FAIL", err.Error())
		return
	}
	s.counters.logins.add(l)
}

// countSession counts the login of a CARRY message. Nonsense does not cost the session.
func (s *service) countSession(m *handoff.Message, result relay.Result) {
	if _, told := m.Fields["LOGIN_US"]; !told {
		return // a front end of before, or none
	}
	l, err := parseLogin(m.Fields, result)
	if err != nil {
		s.counters.malformed.Add(1)
		return
	}
	s.counters.logins.add(l)
}
