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

// NotOfferedError says that a mailhost does not have the mechanism of the client's token, which it was not
// shown.
type NotOfferedError struct {
	Mechanism string
	Why       string // what the mailhost has said, and which setting to look at
}

// Error names the mechanism and the reason.
func (e *NotOfferedError) Error() string {
	return "mailhost does not offer " + e.Mechanism + ": " + e.Why
}

// Answered tells package mailhost that the mailhost works.
func (e *NotOfferedError) Answered() {}
