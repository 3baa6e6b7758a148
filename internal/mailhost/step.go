package mailhost

import (
	"context"
	"errors"

	"mailproxy/relay"
)

// Step is relay.Step: relayd counts by the same names.
type Step = relay.Step

// The steps of logging in at a mailhost that can fail here.
const (
	StepResolve  = relay.StepResolve
	StepConnect  = relay.StepConnect
	StepTLS      = relay.StepTLS
	StepGreeting = relay.StepGreeting
	StepForward  = relay.StepForward
	StepUTF8     = relay.StepUTF8
	StepUser     = relay.StepUser
	StepPassword = relay.StepPassword
	StepLogin    = relay.StepLogin
	StepFollow   = relay.StepFollow
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

// Steps is where a Login is.
type Steps struct{ Step Step }

// Run makes steps of the dialogue until one fails. An error that is neither the mailhost's answer nor says by
// itself where it comes from is one of s.Step, which the steps set.
func (s *Steps) Run(ctx context.Context, steps ...func(context.Context) error) error {
	for _, step := range steps {
		err := step(ctx)
		_, isAnswer := errors.AsType[answerError](err)
		_, hungUp := errors.AsType[*HungUpError](err)
		_, named := errors.AsType[*StepError](err)
		switch {
		case err == nil:
			continue
		case isAnswer, hungUp, named:
			return err
		}
		return &StepError{Step: s.Step, Err: err}
	}
	return nil
}

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
