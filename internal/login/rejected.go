package login

import "mailproxy/internal/mailhost"

// RejectedError says that the mailhost answered a login command with something else than yes.
type RejectedError struct {
	Step   mailhost.Step
	Answer Answer
}

// Error writes the step and the mailhost's answer.
func (e *RejectedError) Error() string { return string(e.Step) + ": rejected: " + e.Answer.Text }

// Answered tells package mailhost that the mailhost works.
func (e *RejectedError) Answered() {}
