package harness

import (
	"strings"
	"testing"
)

// Protocol is one of the two: who speaks it, and the dialogues of a session (package transcript).
type Protocol struct {
	Name          string // "IMAP" or "POP3", which is also what Proxy calls its port
	Program       string // ours
	CourierLogin  string // what it stands in the place of
	LocalServer   string // Courier's
	Config        string // their file of settings in Courier's directory
	Port, TLSPort int

	Greeting string
	// commands give NAME and PASSWORD. The answer to the last one is LoggedIn, Refused or Unavailable.
	commands                       string
	LoggedIn, Refused, Unavailable string
	Work                           string // a command, and the answer that there is one message
	Logout                         string
	Mailhost                       string // what a mailhost says that lets everybody in
}

// The protocols.
var (
	IMAP = Protocol{
		Name: "IMAP", Program: "imapd-proxy", CourierLogin: CourierIMAPLogin, LocalServer: CourierIMAPD,
		Config: "imapd", Port: 143, TLSPort: 993,
		Greeting: `
			S~ \* OK \[CAPABILITY .*
		`,
		commands: `
			C: a LOGIN NAME "PASSWORD"
		`,
		LoggedIn: `
			S~ a OK .*
		`,
		Refused: `
			S~ a NO \[AUTHENTICATIONFAILED\] .*
		`,
		Unavailable: `
			S~ a NO \[UNAVAILABLE\] .*
		`,
		Work: `
			C: b STATUS INBOX (MESSAGES)
			S~ \* STATUS "?INBOX"? \(MESSAGES 1\)
			S~ b OK .*
		`,
		Logout: `
			C: c LOGOUT
			S~ \* BYE .*
			S~ c OK .*
			S-
		`,
		Mailhost: `
			S: * OK [CAPABILITY IMAP4rev1] ready
			C~ (?P<tag>\S+) LOGIN .*
			S: ${tag} OK in
		`,
	}
	POP3 = Protocol{
		Name: "POP3", Program: "pop3d-proxy", CourierLogin: CourierPOP3Login, LocalServer: CourierPOP3D,
		Config: "pop3d", Port: 110, TLSPort: 995,
		Greeting: `
			S~ \+OK .*
		`,
		commands: `
			C: USER NAME
			S~ \+OK .*
			C: PASS PASSWORD
		`,
		LoggedIn: `
			S~ \+OK .*
		`,
		Refused: `
			S~ -ERR \[AUTH\] .*
		`,
		Unavailable: `
			S~ -ERR \[SYS/TEMP\] .*
		`,
		Work: `
			C: STAT
			S~ \+OK 1 .*
		`,
		Logout: `
			C: QUIT
			S~ \+OK .*
			S-
		`,
		Mailhost: `
			S: +OK ready
			C~ USER .*
			S: +OK
			C~ PASS .*
			S: +OK in
		`,
	}
	Protocols = []Protocol{IMAP, POP3}
)

// ProtocolOf is that of a port as Proxy names it, the one for TLS too.
func ProtocolOf(port string) Protocol {
	if strings.TrimSuffix(port, "S") == POP3.Name {
		return POP3
	}
	return IMAP
}

// At is where the protocol is served at an address: "ip:port".
func (p Protocol) At(addr string) string { return hostPort(addr, p.Port) }

// Credentials is the dialogue that gives a name and a password, up to the answer.
func (p Protocol) Credentials(name, password string) string {
	return strings.NewReplacer("NAME", name, "PASSWORD", password).Replace(p.commands)
}

// Login is the dialogue from the greeting to the end of a login.
func (p Protocol) Login(name, password string) string {
	return p.Greeting + p.Credentials(name, password) + p.LoggedIn
}

// Session is a whole session in which the client sees that there is one message.
func (p Protocol) Session(name, password string) string {
	return p.Login(name, password) + p.Work + p.Logout
}

// UnderCourier runs a login program under couriertcpd at addr and the protocol's port, with Courier's local
// server.
func (p Protocol) UnderCourier(t testing.TB, addr, program string, env Env) *Process {
	t.Helper()
	return Couriertcpd(t, TCPD{Addr: addr, Port: p.Port, Config: p.Config, Env: env,
		Program: []string{program, p.LocalServer, "Maildir"}})
}
