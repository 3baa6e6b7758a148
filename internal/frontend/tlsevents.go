package frontend

import (
	"errors"
	"net"

	"mailproxy/internal/maillog"
	"mailproxy/internal/text"
	"mailproxy/relay"
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
func (s *Conn) logNotOffered(err error) {
	s.Log.Errf("%s is not offered: %v", s.startTLSName(), err)
}

func (s *Conn) startTLSName() string {
	if s.Protocol.Name == "POP3" {
		return "STLS"
	}
	return "STARTTLS"
}

// LogBroken says that a session that a Carrier had did not end in order: a reset, or TLS that was cut off
// without close_notify. Many clients just close their connection, so it is no warning.
func LogBroken(log *maillog.Log, info relay.Info, err error) {
	log.Infof(
		"session broken off, ip=[%s], port=[%s]: %s",
		text.Field(info.RemoteIP),
		text.Field(info.RemotePort),
		cause(err),
	)
}
