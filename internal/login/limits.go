package login

import "mailproxy/internal/maillog"

// maxLog bounds what a client can have written to the log before it has logged in, in bytes, besides what
// always is written: its failed logins, which MaxCommands bounds, and how the session begins and ends.
const maxLog = 8 << 10

// CountCommand counts a command, valid or not, and says whether the client may send it. If not, that is
// logged, and the caller ends the session.
func (s *Session) CountCommand() bool {
	s.commands++
	if s.commands <= s.Config.MaxCommands {
		return true
	}
	s.logTooManyCommands()
	return false
}

// limitLog bounds the log until the client has logged in.
func (s *Session) limitLog(log *maillog.Log) {
	s.Log = log.Limit(maxLog, s.leftOut)
}
