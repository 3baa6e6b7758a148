package handoff

import (
	"errors"
	"strings"
	"syscall"

	"mailproxy/relay"
)

// Answer answers a message with a verb and a reason, which may be empty.
func Answer(c syscall.Conn, verb, reason string) error {
	m := &Message{Verb: verb}
	if reason != "" {
		m.Fields = map[string]string{"REASON": strings.Map(oneLine, reason)}
	}
	return Send(c, m)
}

func oneLine(r rune) rune {
	if r == '\n' || r == 0 {
		return ' '
	}
	return r
}

// Refuse answers a CARRY message whose session is not taken because of err: Limit if it would exceed a limit
// of the administrator's, Full if there are no resources for it, Fail for anything else.
func Refuse(c syscall.Conn, err error) error {
	verb := Fail
	switch {
	case errors.Is(err, relay.ErrLimit):
		verb = Limit
	case errors.Is(err, relay.ErrUnavailable):
		verb = Full
	}
	return Answer(c, verb, Reason(err))
}

// Reason is what is against a session that is refused for relay.ErrLimit or relay.ErrUnavailable; of any
// other error, its text.
func Reason(err error) string {
	reason := strings.TrimPrefix(err.Error(), relay.ErrLimit.Error()+": ")
	return strings.TrimPrefix(reason, relay.ErrUnavailable.Error()+": ")
}
