package frontend

import (
	"errors"
	"net"
)

// tlsCause is cause, but says who raised an alert.
func tlsCause(err error) string {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "remote error" {
		return "alert from the peer: " + op.Err.Error()
	}
	return cause(err)
}

// logNotOffered says why STARTTLS is not offered although it is switched on.
func (s *Session) logNotOffered(err error) {
	s.Log.Errf("%s is not offered: %v", s.startTLSName(), err)
}

func (s *Session) startTLSName() string {
	if s.Protocol.Name == "POP3" {
		return "STLS"
	}
	return "STARTTLS"
}

// logBroken: a session did not end in order: a reset, or TLS that was cut off without close_notify. Many clients just
// close their connection, so it is no warning.
func (s *Session) logBroken(err error) {
	s.Log.Infof("session broken off, %s: %s", s.where(), cause(err))
}
