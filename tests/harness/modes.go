package harness

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

// Mode is a way to run the front ends. A test of whole sessions runs in each (EachMode), starts its proxies
// with Start, and asks the Proxy for what differs.
type Mode struct {
	Name   string
	Relayd *Service // takes over the sessions of this mode's proxies; nil: there is none

	user   string // who the front ends run as; empty: root
	relayd bool   // EachMode starts Relayd
	// listen starts the front ends of one protocol and puts them into p.processes by the names of their
	// ports.
	listen func(t testing.TB, p *Proxy, front Protocol, o ProxyOptions)
	// idle waits until the front ends serve no session.
	idle func(t testing.TB, p *Proxy)
}

// Modes are all there are. Another one is added here, and nowhere else.
var Modes = []Mode{
	{Name: "per connection", listen: underCouriertcpd, idle: noFrontEnds},
	{Name: "per connection with relayd", relayd: true, listen: underCouriertcpd, idle: noFrontEnds},
	{Name: "resident", user: ResidentUser, listen: resident, idle: noSessions},
	{Name: "resident with relayd", user: ResidentUser, relayd: true, listen: resident, idle: noSessions},
}

// Launched says that a launcher starts a process for each connection, with what it knows of the connection in
// the environment.
func (m *Mode) Launched() bool { return m.user == "" }

// PerConnection is the mode without anything besides the front ends, for tests that are about a launcher.
func PerConnection() *Mode {
	return &Mode{Name: Modes[0].Name, listen: Modes[0].listen, idle: Modes[0].idle}
}

// Resident is the mode in which one process serves all connections, for tests that are about it.
func Resident() *Mode {
	return &Mode{Name: "resident", user: ResidentUser, listen: resident, idle: noSessions}
}

// WithRelayd is the mode in which this relayd takes the sessions, for tests that are about relayd.
func WithRelayd(relayd *Service) *Mode {
	m := PerConnection()
	m.Relayd = relayd
	return m
}

// begin starts the relayd of a mode that has one.
func (m *Mode) begin(t testing.TB) {
	t.Helper()
	if m.relayd {
		m.Relayd = Relayd(t)
	}
}

// EachMode runs a test once in each mode, one after the other: what a run started has ended when the next one
// begins.
func EachMode(t *testing.T, test func(t *testing.T, m *Mode)) {
	for _, mode := range Modes {
		t.Run(mode.Name, func(t *testing.T) {
			mode.begin(t)
			test(t, &mode)
		})
	}
}

// AllModes are all modes at once, for tests that wait most of their time: they run a proxy in each at the
// same time, with addresses and accounts of their own.
func AllModes(t testing.TB) []*Mode {
	t.Helper()
	var all []*Mode
	for _, mode := range Modes {
		mode.begin(t)
		all = append(all, &mode)
	}
	return all
}

// EachFrontEnd runs a test once in each mode without relayd. It is for tests of what comes before a login:
// relayd is not asked there, and with it the same would run once more.
func EachFrontEnd(t *testing.T, test func(t *testing.T, m *Mode)) {
	for _, mode := range Modes {
		if !mode.relayd {
			t.Run(mode.Name, func(t *testing.T) { test(t, &mode) })
		}
	}
}

// ProxyOptions say what kind of proxy there shall be.
type ProxyOptions struct {
	Addr      string   // loopback address: IMAP on port 143, POP3 on 110, and with TLS 993 and 995
	Protocols []string // "IMAP", "POP3"; nil: both
	TLS       bool     // the TLS ports too
	// Env are settings over these: the account's mailhost is asked (IMAP_PROXY, POP3_PROXY), and a failed
	// login is answered at once (LOGIN_FAIL_DELAY). A setting that begins with the other protocol's name does
	// no harm.
	Env         Env
	Bare        bool   // no settings but Env
	LocalServer string // the program for accounts that are here, with the argument Maildir; empty: Courier's
	// the programs as they are shipped, without the race detector: for much data and many sessions
	Shipped bool
	Admin   bool // resident programs have a socket for mailproxyctl
}

// Proxy is our front ends at one address.
type Proxy struct {
	Addr      string
	mode      *Mode
	processes map[string]*Process
	broken    int               // sessions that relayd had broken off before
	admin     map[string]string // sockets of resident programs, by program
}

// Start starts our front ends in this mode. They end with the test.
func (m *Mode) Start(t testing.TB, o ProxyOptions) *Proxy {
	t.Helper()
	p := &Proxy{Addr: o.Addr, mode: m, processes: map[string]*Process{}, admin: map[string]string{}}
	env := Env{}
	if !o.Bare {
		env = Env{"IMAP_PROXY": "1", "POP3_PROXY": "1", "LOGIN_FAIL_DELAY": "0"}
	}
	if m.Relayd != nil {
		env["RELAY_SOCKET"] = m.Relayd.Socket
		p.broken = m.Relayd.Metric(t, brokenMetric)
	}
	maps.Copy(env, o.Env)
	o.Env = env
	if o.Protocols == nil {
		o.Protocols = []string{"IMAP", "POP3"}
	}
	for _, name := range o.Protocols {
		m.listen(t, p, ProtocolOf(name), o)
	}
	return p
}

// underCouriertcpd starts a process for each connection, with the settings in the environment. The process is
// as it is shipped: with the race detector its start costs five times as much, and what races there could be
// are in what it shares with the resident front ends, which run the same tests with the race detector.
func underCouriertcpd(t testing.TB, p *Proxy, front Protocol, o ProxyOptions) {
	t.Helper()
	tcpd := TCPD{Addr: o.Addr, Port: front.Port, Config: front.Config, Env: o.Env, Program: o.program(t, front)}
	p.processes[front.Name] = Couriertcpd(t, tcpd)
	if o.TLS {
		tcpd.Port, tcpd.Env = front.TLSPort, OverTLS(o.Env)
		p.processes[front.Name+"S"] = Couriertcpd(t, tcpd)
	}
}

// program is a front end of the protocol, as it is shipped, with its arguments.
func (o ProxyOptions) program(t testing.TB, front Protocol) []string {
	t.Helper()
	if o.LocalServer == "" {
		o.LocalServer = front.LocalServer
	}
	return []string{PlainBin(t, front.Program), o.LocalServer, "Maildir"}
}

// OverTLS are the settings of the TLS ports, where those of the others are env.
func OverTLS(env Env) Env {
	env = maps.Clone(env)
	env["IMAP_TLS"], env["POP3_TLS"] = "1", "1"
	env["IMAP_STARTTLS"], env["POP3_STARTTLS"] = "NO", "NO"
	return env
}

func noFrontEnds(t testing.TB, _ *Proxy) {
	t.Helper()
	NoneLeft(t, IMAP.Program, POP3.Program)
}

// Control are the options with which mailproxyctl asks relayd and the resident programs (ProxyOptions.Admin)
// of this proxy; none: there is nobody to ask.
func (p *Proxy) Control() []string {
	var options []string
	if p.mode.Relayd != nil {
		options = append(options, "-socket", "relayd="+p.mode.Relayd.Socket)
	}
	for _, program := range slices.Sorted(maps.Keys(p.admin)) {
		options = append(options, "-socket", program+"="+p.admin[program])
	}
	if options == nil {
		return nil
	}
	return append(options, "-user", ResidentUser)
}

// At is the address and number ("ip:port") of the port "IMAP", "POP3", "IMAPS" or "POP3S".
func (p *Proxy) At(port string) string {
	if strings.HasSuffix(port, "S") {
		return hostPort(p.Addr, ProtocolOf(port).TLSPort)
	}
	return ProtocolOf(port).At(p.Addr)
}

// Log is the log of the front ends behind a port.
func (p *Proxy) Log(port string) *Log { return p.processes[port].Log }

// Reread has the front ends behind a port look at their files now, by a reload of what would otherwise look
// once a minute. Where each connection has a process of its own nothing is to be done.
func (p *Proxy) Reread(t testing.TB, port string) {
	t.Helper()
	if !p.mode.Launched() {
		p.processes[port].Reload(t)
	}
}

// Ends is the log that has the line at the end of each proxied session (LOGOUT): relayd's where it took the
// session.
func (p *Proxy) Ends(port string) *Log {
	if p.mode.Relayd != nil {
		return p.mode.Relayd.Log
	}
	return p.Log(port)
}

// Idle waits until no front end serves a session. (A session that relayd has is none of theirs.)
func (p *Proxy) Idle(t testing.TB) {
	t.Helper()
	p.mode.idle(t, p)
}

// Broken expects that n sessions behind a port have been broken off since Start, for this reason. Front ends
// write a line about each, with the reason; relayd counts all that it has.
func (p *Proxy) Broken(t testing.TB, port string, n int, reason string) {
	t.Helper()
	if p.mode.Relayd == nil {
		p.Log(port).WaitN(t, n, "^INFO: session broken off, .*: "+reason)
		return
	}
	n += p.broken
	if !Eventually(func() bool { return p.mode.Relayd.Metric(t, brokenMetric) == n }) {
		t.Errorf("relayd has broken off %d sessions, want %d", p.mode.Relayd.Metric(t, brokenMetric), n)
	}
}

const brokenMetric = "relayd_sessions_broken_total"
