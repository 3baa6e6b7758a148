package relay

import "time"

// Result is what became of a login.
type Result string

// The results that relayd counts.
const (
	LoginOK        Result = "ok"        // logged in at a mailhost
	LoginLocal     Result = "local"     // the account is on this machine: its server goes on
	LoginRefused   Result = "refused"   // by the auth module
	LoginDisabled  Result = "disabled"  // the account may not use this service
	LoginTemporary Result = "temporary" // the auth module could not answer, or no mailhost was available
	LoginLimit     Result = "limit"     // refused by a limit of relayd's, which counts it by itself
)

// Step is a stage of the way to a mailhost, in log lines, errors and counters.
type Step string

// The steps of logging in at a mailhost. StepRejected is a mailhost's no, whichever command it was the answer
// to: mailhosts that do not work and mailhosts that do not agree with the account database are to be told
// apart.
const (
	StepResolve  Step = "resolve"
	StepConnect  Step = "connect"
	StepTLS      Step = "tls"
	StepGreeting Step = "greeting"
	StepForward  Step = "forward"
	StepUTF8     Step = "utf8"
	StepUser     Step = "user"
	StepPassword Step = "password"
	StepLogin    Step = "login"
	StepFollow   Step = "capability"
	StepRejected Step = "rejected"
)

// Failure is one attempt to use a mailhost that did not lead to a login.
type Failure struct {
	Mailhost string // as in the account's mailhost option, without a port
	Step     Step
}

// Report is how one login went, for relayd's counters.
type Report struct {
	Protocol string // "IMAP" or "POP3"
	Result   Result
	Mailhost string // the last one asked; empty = none was
	// Mechanism is "LOGIN" for the protocol's own command, else SASL's name; empty = not told.
	Mechanism string
	// TLS is the version that the client's connection has, such as "1.3", "none" or "other"; empty = not told.
	TLS      string
	Took     time.Duration // from the credentials to the answer, without the delay of failed logins
	Failures []Failure     // counted and sent to relayd are the first MaxFailures
}

// MaxFailures bounds what one report tells of: an account may have many mailhosts, each many addresses.
const MaxFailures = 32
