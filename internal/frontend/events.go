package frontend

// LogConnection writes the line that begins a session.
func (s *Session) LogConnection() {}

// LogLogout writes the line of a client that said LOGOUT or QUIT before logging in; rcvd and sent are bytes.
func (s *Session) LogLogout(rcvd, sent int64) {}

// LogDisconnected writes the line of a session that ended before a login for the reason given.
func (s *Session) LogDisconnected(end End) {}
