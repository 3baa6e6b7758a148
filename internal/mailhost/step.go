package mailhost

import (
	"errors"
	"io"
	"syscall"
)

// Step names a stage of the way to a mailhost in log lines and errors.
type Step string

// The steps of logging in at a mailhost.
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
)

// StepError says at which step a mailhost turned out to be of no use now.
type StepError struct {
	Step Step
	Err  error
}

// Error writes the step and the cause.
func (e *StepError) Error() string { return string(e.Step) + ": " + e.Err.Error() }

// Unwrap returns the cause.
func (e *StepError) Unwrap() error { return e.Err }

// HungUpError says that the mailhost ended the connection when it was told something that can be left out. It
// is connected to and logged in to once more, with Conn.LeaveOut.
type HungUpError struct {
	What string // "UTF8", "the client's fields of ID"
	Err  error
}

// Error names what was not liked.
func (e *HungUpError) Error() string { return "hung up on " + e.What + ": " + e.Err.Error() }

// Unwrap returns the cause.
func (e *HungUpError) Unwrap() error { return e.Err }

// HungUp says whether err is the end of a connection, and not a timeout or an answer.
func HungUp(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) ||
		errors.Is(err, syscall.EPIPE)
}
